"""`python -m kaito_trainer`: train as a KAITO config says, do the work beside it in a pod, or import a GGUF model.

What is wrong with the configuration is said before torch is imported: that takes a tenth of a second instead of ten.
Exit codes of `train`: 0 completed, 1 failed (an `error` event has said why), 143 or 130 cancelled by a signal.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from . import beside, failures, results
from .contract import Problem, TrainingConfig, check
from .contract.events import Error, Phase, TrainEnd
from .contract.names import MOUNT_ROOT
from .contract.sections import TRAINER_KEY
from .emit import Emitter
from .failures import Failure
from .places import Places, locked
from .stop import Cancelled, Stop
from .told import told

ENVIRONMENT: Final = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",  # events tell how it goes; bars would litter the log
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads that spin made shared cores up to 16 times slower
    "KMP_BLOCKTIME": "0",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",  # as KAITO sets it: less memory lost to fragments
}
"""Set where the user has not set it otherwise, before the libraries that read it are imported."""

PATIENCE: Final = 3.0
"""Seconds for which another process than the first waits with its own failure: mostly it is that of all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kaito_trainer", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="fine-tune as a KAITO training_config.yaml says")
    training.add_argument("--config", type=Path, required=True, help="the training_config.yaml")
    training.add_argument(
        "--mount-root", type=Path, default=Path(MOUNT_ROOT), help=f"folder that stands for {MOUNT_ROOT} in all paths"
    )
    beside.add_commands(commands)
    gguf = commands.add_parser("import-gguf", help="convert a GGUF model to a model folder, once")
    gguf.add_argument("source", help="a .gguf file, a folder with one, or an installed Python package with one")
    gguf.add_argument("destination", type=Path, help="the model folder to make")
    options = parser.parse_args(arguments)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if options.command == "import-gguf":
        return import_gguf(options.source, options.destination)
    if options.command in ("download", "push"):
        return beside.run(options)
    return train(options.config, Places(options.mount_root.absolute()))


def train(file: Path, places: Places) -> int:
    """Check, lock, train; whatever goes wrong ends as one `error` event."""
    stop = Stop()
    stop.install()
    rank_zero = os.environ.get("RANK", "0") == "0"
    emit = Emitter(sys.stdout, speaks=rank_zero)
    config: TrainingConfig | None = None
    output: Path | None = None
    try:
        config = read(file)
        wrong = problems(config)
        if any(p.path == "TrainingArguments.output_dir" for p in wrong):
            raise failures.of_problems(wrong)
        output = places.output(config)
        results.prepare(output)
        with locked(output) if rank_zero else contextlib.nullcontext():
            emit.copy_to(output)
            if (
                (end := results.is_over(output))
                and told(output).unfinished
                and os.environ.get("WORLD_SIZE", "1") == "1"
            ):
                emit(TrainEnd(**end))  # all was done but to say so
                return 0
            if rank_zero:
                results.forget(output)
            if results.noted(output).get("run"):
                emit.step = told(output).step  # should it be cancelled before it goes on
            if wrong:
                raise failures.of_problems(wrong)
            if config.ModelConfig.local_files_only:
                os.environ.setdefault("HF_HUB_OFFLINE", "1")
            emit(Phase(phase="loading", detail="libraries"))
            _quiet()
            from . import sft

            return sft.main(config, places, emit, stop)
    except Cancelled:
        emit.cancelled()
        return stop.exit_code
    except BaseException as error:  # noqa: BLE001 (every end is told as an event)
        _tell(failures.explain(error, config), emit, output)
        return 1


def _tell(error: Error, emit: Emitter, output: Path | None) -> None:
    """Say why it failed. Of several processes the first one speaks, unless the failure is another's own: it knows nothing of it.

    The others then only see that one went away, which is nobody's reason.
    """
    if output is not None and os.environ.get("WORLD_SIZE", "1") != "1":
        if not emit.speaks:
            time.sleep(PATIENCE)
        if told(output).failed and (not emit.speaks or error.kind == "crash"):
            return
        if not emit.speaks and error.kind != "crash":
            emit.speaks = True
            emit.copy_to(output)
    emit(error)


def read(file: Path) -> TrainingConfig:
    """The configuration in a file. Raises `Failure` of kind `config` when the file holds none."""
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            "config", f"{file}: cannot be read: {error}", "Give the path of a training_config.yaml."
        ) from None
    except yaml.YAMLError as error:
        raise Failure("config", f"{file}: is not YAML: {' '.join(str(error).split())}") from None
    wrong = list(_shape(document))
    if wrong:
        raise failures.of_problems(wrong)
    return TrainingConfig.from_document(document)


def problems(config: TrainingConfig) -> list[Problem]:
    """All that can be said against a configuration without torch."""
    q = config.QuantizationConfig
    method = "qlora" if q.load_in_4bit is True or q.load_in_8bit is True else "lora"
    return [p for p in check(config, method) if p.severity == "error"]


def _shape(document: Any) -> Iterator[Problem]:
    remedy = "Write the sections (ModelConfig, TrainingArguments, …) below a top-level key training_config."
    if not isinstance(document, dict):
        yield Problem("config", "the file holds no mapping.", remedy)
    elif not isinstance(document.get("training_config"), dict):
        yield Problem("training_config", "this top-level key is missing or holds no sections.", remedy)
    else:
        for key in document.keys() - {"training_config", TRAINER_KEY}:
            yield Problem(f"config.{key}", "no such top-level key.", remedy)
        if not isinstance(document.get(TRAINER_KEY, {}), dict):
            yield Problem(TRAINER_KEY, "holds no keys and values.", "Write it as a mapping, for example {samples: 2}.")


def _quiet() -> None:
    """What the libraries say to developers stays out of the log. Before they are imported: some speak at once."""
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def import_gguf(source: str, destination: Path) -> int:
    """Convert, telling how it goes; a failure is one line on stderr."""
    from .import_gguf import import_gguf as convert

    try:
        convert(source, destination)
    except Failure as failure:
        print(failure, file=sys.stderr)  # noqa: T201 (a command line's answer)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
