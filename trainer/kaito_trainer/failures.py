"""Exceptions turned into what a person can act on: an `error` event with kind, message and remedy.

Only the standard library: it must work when importing the rest is what failed.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .contract import Problem, TrainingConfig
from .contract.events import Error

INSTALL: Final = "pip install 'kaito-trainer[train]'"
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MESSAGE_LENGTH: Final = 1000
"""Letters of a foreign exception's text that an event carries."""


class Failure(Exception):
    """The run cannot go on, and it is known why. `kind` is one of the contract's `ERROR_KINDS`."""

    def __init__(self, kind: str, message: str, remedy: str | None = None, details: list[str] | None = None) -> None:
        super().__init__(message if remedy is None else f"{message} {remedy}")
        self.kind, self.message, self.remedy, self.details = kind, message, remedy, details


def of_problems(problems: Sequence[Problem], kind: str = "config") -> Failure:
    """One failure out of all problems."""
    first = problems[0]
    message = f"{first.path}: {first.message}"
    if len(problems) == 1:
        return Failure(kind, message, first.remedy or None)
    return Failure(kind, f"{len(problems)} problems, the first: {message}", first.remedy, [str(p) for p in problems])


def explain(error: BaseException, config: TrainingConfig | None = None) -> Error:
    """The event that tells of an exception. One that nobody foresaw has its traceback printed on stderr too."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, Failure):
            return Error(kind=link.kind, message=link.message, remedy=link.remedy, details=link.details)
    for link in chain:
        if is_full(link):
            return Error(
                kind="disk-full",
                message=f"No space is left where the run writes: {_text(link)}",
                remedy="Free space, use a larger volume, or keep fewer checkpoints (save_total_limit).",
            )
        if is_out_of_memory(link):
            return Error(kind="out-of-memory", message=_text(link), remedy=_smaller(config))
        if isinstance(link, ImportError):
            return Error(kind="dependency", message=_text(link), remedy=INSTALL)
    traceback.print_exception(error)
    return Error(kind="crash", message=_text(error))


def in_loading(error: Exception, what: str, *, offline: bool) -> Failure | None:
    """The failure that an exception means while `what` (a model, a tokenizer) is loaded; None: it tells for itself.

    `offline`: the hub was not to be asked.
    """
    names = {type(link).__name__ for link in _chain(error)}
    texts = " ".join(str(link) for link in _chain(error))
    if (
        names & {"GatedRepoError"}
        or "gated repo" in texts
        or "401 Client Error" in texts
        or "403 Client Error" in texts
    ):
        return Failure(
            "gated-model",
            f"{what}: it may only be loaded with a licence accepted and a token: {_text(error)}",
            "Accept the licence on the model's page and give a Hugging Face token (HF_TOKEN, or the spec's secret).",
        )
    if isinstance(error, ImportError) or any(is_full(e) or is_out_of_memory(e) for e in _chain(error)):
        return None
    if names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"} or "is not a local folder" in texts:
        remedy = "Check its name and the way to the model hub, or give the folder of a downloaded model."
        if offline:
            remedy = "Set ModelConfig.local_files_only: false, or give the folder of a downloaded model."
        return Failure("model", f"{what}: it is not on this machine and cannot be fetched: {_text(error)}", remedy)
    if isinstance(error, OSError | ValueError | KeyError | TypeError | RuntimeError) or "SafetensorError" in names:
        return Failure("model", f"{what}: it cannot be loaded: {_text(error)}", "Check that its files are complete.")
    return None


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Around what writes results: an error of the volume, that is not one of space, is raised as `Failure` of kind `volume`.

    A volume can go away under a run, or come read-only, or be made for another user: it is not the trainer that fails then.
    """
    try:
        yield
    except Exception as error:
        links = list(_chain(error))
        reason = next((e for e in links if isinstance(e, OSError) or "os error" in str(e)), None)
        if reason is None or any(is_full(link) or isinstance(link, Failure) for link in links):
            raise
        remedy = "Check that the volume is mounted, and that the trainer's user may write to it."
        raise Failure("volume", f"{place} cannot be written: {_text(reason)}", remedy) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it."""
    link: BaseException | None = error
    for _ in range(20):  # a chain can be a ring
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def is_full(error: BaseException) -> bool:
    """Whether a disk (or a quota) has no space left."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    # Rust's and torch's writers raise their own types.
    return any(mark in text for mark in ("os error 28", "os error 27", "os error 122", "No space left on device")) or (
        "PytorchStreamWriter failed" in text or "unexpected pos" in text
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, has no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        mark in text
        for mark in (
            "DefaultCPUAllocator: can't allocate memory",
            "not enough memory: you tried",
            "out of memory",
            "CUBLAS_STATUS_ALLOC_FAILED",
        )
    )


def _smaller(config: TrainingConfig | None) -> str:
    """What to change first, given what is set."""
    if config is None:
        return "Use a machine with more memory."
    t = config.TrainingArguments
    batch, accumulation = t.per_device_train_batch_size or 1, t.gradient_accumulation_steps or 1
    steps = []
    if batch > 1:
        smaller = max(1, batch // 2)
        steps.append(
            f"set per_device_train_batch_size: {smaller} and gradient_accumulation_steps: "
            f"{accumulation * batch // smaller}"
        )
    if not t.gradient_checkpointing:
        steps.append("set gradient_checkpointing: true")
    if (t.max_length or 1024) > 512:
        steps.append("set max_length to half")
    if config.QuantizationConfig.load_in_4bit is not True:
        steps.append('use the method "qlora"')
    steps.append("take a GPU with more memory")
    text = ", or ".join(steps[:3])
    return text[0].upper() + text[1:] + "."


def _text(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no reason was given"
    text = text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"
    return text if isinstance(error, ImportError | OSError) else f"{type(error).__name__}: {text}"


__all__ = ["Failure", "explain", "in_loading", "is_full", "is_out_of_memory", "of_problems", "writing"]
