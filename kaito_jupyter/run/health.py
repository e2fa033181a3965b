"""What is wrong with a run: what the reader and the backend know of it, given to the rules."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from kaito_trainer.contract import Problem

from ..diagnose import Diagnosis, Fix, diagnose
from ..diagnose.diagnosis import shown
from ..errors import BackendError, SpecError
from ..status import TERMINAL

if TYPE_CHECKING:
    from .reader import Reader
    from .run import Run

CATCH_UP: Final = 20.0
"""The most seconds that a diagnosis waits for the log to be read to its present end."""


def examined(run: Run, reader: Reader) -> Diagnosis:
    """The run's diagnosis as of now."""
    if not run.reading and run.state.state not in TERMINAL:
        run.open(CATCH_UP)
    rows, spec = _rows(run), run.spec
    if run.trouble and run.state.state not in TERMINAL:
        return Diagnosis(
            run.name,
            "no-contact",
            "The place where it runs does not answer; the run goes on without us.",
            "Check the network or VPN. What it writes meanwhile is read when there is contact again.",
            shown([run.trouble]),
            run.state.state,
        )
    with run.lock:
        return diagnose(
            run.state,
            spec,
            run.backend.name,
            name=run.name,
            now=time.time(),
            rows=rows,
            heard=reader.stepped,
            written=reader.written,
        )


def mended(diagnosis: Diagnosis) -> Fix:
    """The diagnosis's changed spec. Raises `SpecError` when there is none."""
    if diagnosis.fix is None:
        what = diagnosis.sentence
        raise SpecError([Problem(f"run {diagnosis.name}", what, diagnosis.remedy or "There is nothing to change.")])
    return diagnosis.fix


def _rows(run: Run) -> int | None:
    with contextlib.suppress(BackendError):  # out of reach: what is known is judged
        return run.rows
    return None
