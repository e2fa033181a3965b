"""What can go wrong, as exceptions that a person can act on.

::

    KaitoError                    everything we raise on purpose
      InputError                  a user's input has problems (all of them, in .problems)
        DatasetError              … in the data
        SpecError                 … in the spec, its config, or an option
      BackendError                the place where training runs said no, or cannot be reached
        RunNotFound               there is no run of that name
      RunFailed                   a run that was waited for did not succeed
      WaitTimeout                 … has not ended in the time that was given (a TimeoutError too)

Messages never hold a secret's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kaito_trainer.contract import Problem

SHOWN = 12
"""Problems that a message spells out; the rest is counted (all stay in `.problems`)."""


class KaitoError(Exception):
    """Base of all errors that we raise on purpose. In IPython it renders as its message alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        first, *rest = str(self).splitlines() or [""]
        return [f"\x1b[31mkaito: {first}\x1b[0m", *rest]


class InputError(KaitoError):
    """What the user gave has problems: all of them, at once."""

    WHAT: ClassVar[str] = "input"

    def __init__(self, problems: Sequence[Problem], hint: str = "") -> None:
        self.problems = tuple(problems)
        self.hint = hint
        """What helps with several of them at once, as a sentence."""
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return "\n".join([str(self.problems[0]), *([self.hint] if self.hint else [])])
        lines = [f"{len(self.problems)} problems in the {self.WHAT}:"]
        lines += [f"  {p}" for p in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  … and {len(self.problems) - SHOWN} more")
        return "\n".join([*lines, *([self.hint] if self.hint else [])])


class DatasetError(InputError):
    """The data cannot be trained on as it is."""

    WHAT = "data"


class SpecError(InputError):
    """The spec, its config or an option cannot work."""

    WHAT = "spec"


class BackendError(KaitoError):
    """The place where training runs refused, or cannot be reached."""


class RunNotFound(BackendError):
    """There is no run of that name."""


class RunFailed(KaitoError):
    """A run that was waited for ended without success."""


class WaitTimeout(KaitoError, TimeoutError):
    """A run that was waited for goes on: the wait is over, the run is not."""
