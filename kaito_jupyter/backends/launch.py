"""Starting a local run: what it needs is checked, its folder filled, and the trainer started under a supervisor.

The folder is filled beside its place and moved there when it is complete: a run is there wholly or not at all, and two
who want the same name at once cannot both have it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kaito_trainer.contract import Problem
from kaito_trainer.contract.names import CONFIG_DIR, CONFIG_FILE, DATA_DIR, RESULTS_DIR, TRAIN_FILE
from kaito_trainer.contract.problems import listing

from ..errors import BackendError, SpecError
from ..spec import TuningSpec
from ..tilde import expanded
from . import supervisor as files
from .base import TuningJob
from .boot import boot_id
from .folder import SPEC_FILE, held, supported
from .marks import RESUMED_FROM

TRAINER: Final = (sys.executable, "-P", "-m", "kaito_trainer")
"""`-P`: the run's folder, in which it works, holds no modules, and is not searched for any."""
COMMAND_VARIABLE: Final = "KAITO_LOCAL_TRAINER"
PACKAGES: Final = ("torch", "transformers", "peft", "trl", "datasets")
QLORA_PACKAGES: Final = ("bitsandbytes",)
_STALE: Final = 3600.0
"""Seconds after which a half-filled folder, whose maker is dead, is removed."""
_START: Final = 60.0
"""Seconds within which a supervisor must have started its trainer (it takes about 0.05)."""


def problems(spec: TuningSpec, command: Sequence[str] | None) -> list[Problem]:
    """What this machine lacks for the spec, and what is wrong with its output folder."""
    if not supported():
        return [Problem("backend", "training on this machine needs Linux or macOS.", "Train on a cluster instead.")]
    found = []
    if not _replaced(command) and (missing := missing_packages(spec.method)):
        names = listing(missing, "and").replace('"', "`")
        message = f"{names} {'is' if len(missing) == 1 else 'are'} not installed here, and training on this machine needs them."
        remedy = f"Run `{sys.executable} -m pip install 'kaito-jupyter[local]'`."
        found.append(Problem("backend", message, remedy))
    goes_on = RESUMED_FROM in spec.annotations  # then what lies there is what it goes on with
    if spec.output.path is not None and not goes_on:
        problem = _output_problem(expanded(spec.output.path))
        found += [problem] if problem else []
    return found


def missing_packages(method: str) -> list[str]:
    """Which of the trainer's packages this Python cannot find. None of them is imported for it."""
    needed = (*PACKAGES, *QLORA_PACKAGES) if method == "qlora" else PACKAGES
    return [name for name in needed if importlib.util.find_spec(name) is None]


def start(job: TuningJob, root: Path, command: Sequence[str] | None) -> Path:
    """Fill the run's folder, start the trainer, and return the folder.

    Raises `SpecError` when the name was taken in the meantime, `BackendError` when the disk or the system refuses.
    """
    assert job.spec.name
    place = root / job.spec.namespace / job.spec.name
    fresh = root / f".new-{uuid.uuid4().hex}"
    lock = -1
    try:
        _make_private(place.parent, root)
        _remove_stale(root)
        fresh.mkdir(mode=0o700)
        lock = _locked(fresh / files.SUPERVISOR_LOCK)
        _fill(fresh, job, place, _replaced(command) or TRAINER)
        if place.exists():  # an empty folder would be replaced
            raise FileExistsError
        fresh.rename(place)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if place.exists():
            remedy = "Choose another name."
            raise SpecError([Problem("metadata.name", f'"{job.spec.name}" was taken just now.', remedy)]) from None
        raise BackendError(
            f"run {job.spec.name}: its folder {place} cannot be made: {error.strerror or error}. "
            "Free or unlock the place, or set XDG_STATE_HOME to another."
        ) from error
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    else:
        _supervise(place, lock)
    finally:
        if lock >= 0:
            os.close(lock)
    return place


def _fill(folder: Path, job: TuningJob, place: Path, trainer: Sequence[str]) -> None:
    import yaml

    spec, rows = job.spec, job.dataset.rows if job.dataset else None
    for name in (DATA_DIR, CONFIG_DIR):
        (folder / name).mkdir()
    if job.dataset:
        job.dataset.write(folder / DATA_DIR / TRAIN_FILE)
    if spec.output.path is None:
        _fill_results(folder / RESULTS_DIR, spec, place)
    else:
        destination = expanded(spec.output.path).absolute()
        destination.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS_DIR).symlink_to(destination, target_is_directory=True)
    config = spec.effective_config("local", rows=rows).to_document()
    (folder / CONFIG_DIR / CONFIG_FILE).write_text(_yaml(yaml, config), encoding="utf-8")
    (folder / SPEC_FILE).write_text(spec.to_yaml(), encoding="utf-8")
    run = {
        "version": 1,
        "id": uuid.uuid4().hex,
        "name": spec.name,
        "namespace": spec.namespace,
        "created": time.time(),
        "boot": boot_id(),
        "host": os.uname().nodename,
        "python": sys.executable,
        "command": [
            *trainer, "train",
            "--config", str(place / CONFIG_DIR / CONFIG_FILE),
            "--mount-root", str(place),
        ],
        "preset": spec.preset,
        "method": spec.method,
        "rows": rows,
        "fingerprint": job.dataset.fingerprint if job.dataset else None,
        "total_steps": job.total_steps,
    }  # fmt: skip
    files.write_atomically(folder / files.RUN_FILE, json.dumps(run, indent=1))


def _fill_results(results: Path, spec: TuningSpec, place: Path) -> None:
    """An empty folder; of a run that goes on for another one, that one's checkpoints and what it told."""
    name = Path(spec.annotations.get(RESUMED_FROM, "")).name  # beside this one, and nowhere else
    before = place.parent / name / RESULTS_DIR
    if name and any(before.glob("checkpoint-*")):
        shutil.copytree(before, results, symlinks=True)
    else:
        results.mkdir()


def _yaml(yaml: Any, content: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _supervise(folder: Path, lock: int) -> None:
    """Start the supervisor, which takes the lock over, and wait until it has started the trainer."""
    command = [sys.executable, "-I", "-S", files.__file__, str(folder), str(lock)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(lock,),
            start_new_session=True,
            timeout=_START,
            check=False,
        )
        complaint = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode == 0:
            return
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = str(error)
    shutil.rmtree(folder, ignore_errors=True)
    raise BackendError(f"run {folder.name}: the trainer could not be started: {complaint or 'no reason was given'}.")


def environment() -> dict[str, str]:
    """The trainer's environment: the kernel's, without what is the kernel's own affair."""
    env = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONSTARTUP") and not k.startswith("JPY_")}
    # Waiting threads sleep instead of spinning: on shared cores that is up to 16 times faster.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    env.setdefault("KMP_BLOCKTIME", "0")
    return env | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONIOENCODING": "utf-8",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _replaced(command: Sequence[str] | None) -> list[str]:
    """The command in the trainer's place, or an empty list."""
    return list(command) if command else shlex.split(os.environ.get(COMMAND_VARIABLE, ""))


def _output_problem(folder: Path) -> Problem | None:
    with contextlib.suppress(OSError):  # a file is the spec's to refuse; a folder that is not there is made
        if any(folder.iterdir()):
            message = f"{folder} is not empty: an earlier adapter in it would be mixed with the new one."
            return Problem("tuning.output", message, "Name a new folder, or empty that one.")
    return None


def _make_private(folder: Path, root: Path) -> None:
    """Make the folder; it and all that we make up to `root` are for their owner alone."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for step in (root, folder):
        step.mkdir(mode=0o700, exist_ok=True)


def _locked(path: Path) -> int:
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _remove_stale(root: Path) -> None:
    """Half-filled folders whose maker was killed, and trash that was not emptied."""
    for folder in (*root.glob(".new-*"), *root.glob(".trash-*")):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE and not held(folder / files.SUPERVISOR_LOCK):
                shutil.rmtree(folder, ignore_errors=True)
