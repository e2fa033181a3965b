"""Python tracebacks in a log: which kind of failure it is, and what a person can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from kaito_trainer.contract.events import Error

from .bars import ESCAPES

REMEDIES: Final = {
    "config": "Compare the configuration with the field that the message names; `%kaito yaml` shows what was sent.",
    "dataset": "Give one csv, json, jsonl or parquet file with `messages`, `prompt` and `completion`, or `text` columns.",
    "model": "Check the preset or model name, and that the trainer can reach its files.",
    "gated-model": "Accept the model's licence on Hugging Face, and give a token (`model_access_secret` on a cluster).",
    "target-modules": "Leave LoraConfig.target_modules unset, or name linear layers that this model has.",
    "out-of-memory": "Lower per_device_train_batch_size or max_length, turn gradient_checkpointing on, use qlora, or take "
    "a larger GPU.",
    "download": "Check that the URL or image exists and can be reached from where the trainer runs.",
    "push": "Check the image's name, and that its registry can be reached; the adapter itself is saved.",
    "registry-auth": "Give a pull or push secret with credentials for that registry.",
    "disk-full": "Free space on the volume or give a larger one; save_total_limit keeps fewer checkpoints.",
    "volume": "Check that the volume of the output folder is mounted and may be written to, then start the run again.",
    "dependency": "Install the package that the message names where the trainer runs.",
    "killed": "If memory was short, lower per_device_train_batch_size or max_length; the last checkpoint can be resumed.",
    "reboot": "Start the run again; from a checkpoint if it wrote one.",
    "crash": "Look at the log's last lines.",
}
"""What to do about each of the contract's `ERROR_KINDS`, when the trainer gave no better advice."""

_SIGNS: Final = {
    "out-of-memory": (
        "OutOfMemoryError", "out of memory", "not enough memory", "^MemoryError", "cannot allocate memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ),
    "disk-full": ("no space left on device", r"\[Errno 28\]", "disk quota exceeded"),
    "gated-model": ("GatedRepo", "gated repo", "access to model .{0,120} is restricted", "40[13] client error"),
    "target-modules": ("target.modules", "no modules were targeted"),
    "dependency": ("ModuleNotFoundError", "ImportError", "PackageNotFoundError", "to be installed", "pip install"),
    "dataset": (
        "load the dataset", "dataset file", "DatasetGeneration", "EmptyDataset", "DataFilesNotFound", "CastError",
        "ArrowInvalid", "chat.template", "TemplateError", "UndefinedError", "unable to create tensor", "JSON parse error",
        "KeyError: '(?:messages|prompt|completion|text|role|content)'",
    ),
    "model": (
        "RepositoryNotFound", "EntryNotFound", "HFValidationError", "SafetensorError", "can't load", "model_type",
        "couldn't connect to", "is not a local folder", "does not appear to have a file", "tokenizer class",
        "unrecognized (?:model|configuration)",
    ),
    "config": (
        "unexpected keyword argument", "unrecognized argument", "keys are not used", "not a valid", "padding.free",
        "packing", "required argument", "could not parse", "yaml", "invalid choice", "argument .{0,60}: ",
        # Their own words, by `tests/kaito_trainer/contract/test_real_classes.py`
        "arguments are not used", r"--\w+ (?:must|requires|can only)", "requires (?:an eval strategy|non-zero)",
        "at most one of", "support bf16", "are both True", r"`?\w+`? must (?:be a|also be|be specified)",
        "invalid (?:task type|beta parameter)", "expected value warmup", r"module 'torch' has no attribute '\w{1,12}'",
        "not supported for DoRA", "should (?:be between 0 and 1|not exceed 1)", "batch_size should be", "num_workers option",
    ),
    "killed": ("SIGKILL", "signal 9", r"exitcode\s{0,4}: -9"),
}  # fmt: skip
_RULES: Final = {kind: re.compile("|".join(signs), re.IGNORECASE) for kind, signs in _SIGNS.items()}
"""Kind -> pattern over `Class: message`; the first that fits counts."""
_LAUNCHERS: Final = ("CalledProcessError", "ChildFailedError", "ProcessExitedException")
"""What a launcher raises when the program that it launched has failed."""
_HEADER: Final = "Traceback (most recent call last)"
_RAISED: Final = re.compile(
    r"(?P<module>(?:[A-Za-z_]\w{0,60}\.){0,8})(?P<name>[A-Za-z_]\w{0,80})(?::(?: (?P<message>.*))?)?$"
)
_USAGE: Final = re.compile(r"[\w./-]{1,80}\.py: error: (?P<message>.*)$")
"""How a program ends that cannot read its command line, as KAITO's trainer turns its configuration into one."""
_PREFIX: Final = re.compile(r"^\[(?:rank|default)?\d{1,4}\]: ?")
LONGEST: Final = 2000
"""Characters kept of a message."""
_PATIENCE: Final = 500
"""Lines of a traceback after which it is given up."""


class Tracebacks:
    """Finds the exceptions that tracebacks end with, a line at a time."""

    def __init__(self) -> None:
        self._left = 0
        self._told = ""

    def feed(self, line: str) -> Error | None:
        """The failure, when this line ends a traceback and tells more than was told before."""
        line = _PREFIX.sub("", line)
        if line.startswith(_HEADER):
            self._left = _PATIENCE
            return None
        if not self._told and (usage := _USAGE.match(line[: LONGEST * 2])):
            self._told = "config"
            return Error(kind="config", message=usage["message"].strip()[:LONGEST], remedy=REMEDIES["config"])
        if not self._left or not line or line[0] in " \t":
            return None
        self._left -= 1
        match = _RAISED.match(line[: LONGEST * 2])
        if match is None:
            return None
        self._left = 0
        return self._judge(match["name"], (match["message"] or "").strip())

    def reset(self) -> None:
        """What failed goes on, or another program begins."""
        self._left, self._told = 0, ""

    def _judge(self, name: str, message: str) -> Error | None:
        if name in ("KeyboardInterrupt", "SystemExit") or (self._told and name in _LAUNCHERS):
            return None
        text = f"{name}: {message}" if message else name
        kind = classify(text)
        if self._told and (self._told != "crash" or kind == "crash"):
            return None  # other ranks and chained exceptions say no more
        self._told = kind
        return Error(kind=kind, message=text[:LONGEST], remedy=REMEDIES[kind])


def classify(text: str) -> str:
    """The contract's kind of an exception, given as `Class: message`."""
    return next((kind for kind, pattern in _RULES.items() if pattern.search(text)), "crash")


def explain(lines: Iterable[str]) -> Error | None:
    """What made a program end, judging by the last lines that it wrote; None when they hold no traceback."""
    scanner, found = Tracebacks(), None
    for line in lines:
        found = scanner.feed(ESCAPES.sub("", line[: LONGEST * 2])) or found
    return found
