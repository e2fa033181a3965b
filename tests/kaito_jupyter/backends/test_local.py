from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaito_jupyter.backends import launch
from kaito_jupyter.backends.base import Backend, TuningJob
from kaito_jupyter.backends.local import LocalBackend, default_root
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import BackendError, RunNotFound, SpecError
from kaito_jupyter.status import Lines, RunRef, Status

Local = Callable[..., LocalBackend]
Job = Callable[..., TuningJob]
Ended = Callable[[LocalBackend, RunRef], Status]
Until = Callable[..., Any]


def processes(field: int, number: int) -> list[str]:
    """States of the processes with this number in that field of proc(5)'s stat, counted after the name; "Z" is a zombie."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[field]) == number:
            found.append(fields[0])
    return found


def children() -> list[str]:
    return processes(1, os.getpid())


def steps(backend: LocalBackend, ref: RunRef) -> list[int]:
    lines = [json.loads(line) for line in backend.logs(ref) if line.startswith('{"kaito_event":1,"type":"log","seq"')]
    return [line["global_step"] for line in lines]


def test_it_is_a_backend() -> None:
    backend: Backend = LocalBackend()
    assert backend.name == "local"


def test_runs_live_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "kaito-jupyter" / "runs"


def test_a_run_is_a_folder_that_the_trainer_works_in(
    local: Local, job: Job, ended: Ended, small_dataset: Dataset
) -> None:
    backend = local("--steps", "5")
    ref = backend.submit(job(options={"max_steps": 5, "LoraConfig.r": 16}))
    assert ref == RunRef("local", "first", "default", str(backend.root / "default" / "first"))
    status = ended(backend, ref)
    assert (status.state, status.reason, status.kind, status.exit_code) == ("Succeeded", "", "", 0)
    assert status.created is not None
    assert status.started is not None
    assert status.ended is not None
    assert status.created <= status.started <= status.ended

    folder = Path(ref.location)
    assert Dataset.read(folder / "data" / "train.parquet").fingerprint == small_dataset.fingerprint
    config = yaml.safe_load((folder / "config" / "training_config.yaml").read_text())
    assert config["training_config"]["LoraConfig"]["r"] == 16
    assert config["training_config"]["TrainingArguments"]["output_dir"] == "/mnt/results"
    assert config["training_config"]["ModelConfig"]["pretrained_model_name_or_path"] == "microsoft/Phi-4-mini-instruct"
    run = json.loads((folder / "run.json").read_text())
    assert run["total_steps"] == 5
    assert run["fingerprint"] == small_dataset.fingerprint
    assert backend.spec(ref).config.LoraConfig.r == 16
    assert backend.spec(ref).name == "first"
    assert backend.adapter(ref) == folder / "results"
    assert steps(backend, ref) == [1, 2, 3, 4, 5]
    assert (folder / "supervisor.log").read_text() == ""


def test_only_the_owner_can_look_into_it(local: Local, job: Job, ended: Ended) -> None:
    backend = local("--steps", "1")
    ref = backend.submit(job())
    ended(backend, ref)
    for folder in (backend.root, backend.root / "default", Path(ref.location)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_trainer_is_nobodys_child_and_never_a_zombie(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--steps", "5", "--seconds", "0.05")
    before = children()
    ref = backend.submit(job())
    folder = Path(ref.location)
    process = until(lambda: (folder / "process.json").exists() and json.loads((folder / "process.json").read_text()))
    assert children() == before
    assert os.getsid(process["pid"]) != os.getsid(0)
    assert os.getpgid(process["pid"]) == process["pid"]
    ended(backend, ref)
    assert children() == before
    until(lambda: not Path(f"/proc/{process['pid']}").exists())
    until(lambda: not Path(f"/proc/{process['supervisor']}").exists())


def test_a_trainer_killed_from_outside_is_a_failed_run(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    pid = json.loads((Path(ref.location) / "process.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    status = ended(backend, ref)
    assert (status.state, status.kind, status.exit_code) == ("Failed", "killed", -9)
    assert status.reason == "The trainer was killed from outside (SIGKILL)."
    assert backend.adapter(ref) is None


def test_memory_that_ran_out_is_told_from_a_kill(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    os.kill(json.loads((Path(ref.location) / "process.json").read_text())["pid"], signal.SIGKILL)
    ended(backend, ref)
    end = json.loads((Path(ref.location) / "exit.json").read_text())
    assert end["oom_kills"] == 0
    assert end["max_rss_bytes"] > 1e6
    (Path(ref.location) / "exit.json").write_text(json.dumps(end | {"oom_kills": 1, "max_rss_bytes": 3 * 2**30}))
    status = backend.status(ref)
    assert (status.state, status.kind) == ("Failed", "out-of-memory")
    assert status.reason == "This machine's memory ran out and the system killed the trainer, which had used 3.0 GiB."


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        (("--exit", "1"), "", "The trainer ended with exit code 1."),
        (("--raise",), "", "The trainer ended with exit code 1."),
        (("--fail", "out-of-memory"), "", "The trainer ended with exit code 1."),
        (("--exit", "3"), "", "The trainer ended with exit code 3."),
    ],
)
def test_a_trainer_that_fails(
    local: Local, job: Job, ended: Ended, options: tuple[str, ...], kind: str, reason: str
) -> None:
    backend = local("--steps", "4", *options)
    status = ended(backend, backend.submit(job()))
    assert (status.state, status.kind, status.reason) == ("Failed", kind, reason)


def test_a_crash_of_the_interpreter_names_its_signal(tmp_path: Path, job: Job, ended: Ended) -> None:
    code = "import os, signal, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), signal.SIGSEGV)"
    backend = LocalBackend(tmp_path, command=[sys.executable, "-c", code])
    status = ended(backend, backend.submit(job()))
    assert (status.state, status.kind, status.exit_code) == ("Failed", "crash", -signal.SIGSEGV)
    assert status.reason == "The trainer was ended by SIGSEGV."


def test_a_trainer_that_cannot_be_started_is_told_at_once_and_leaves_nothing(tmp_path: Path, job: Job) -> None:
    backend = LocalBackend(tmp_path, command=["/nowhere/python"])
    with pytest.raises(BackendError) as told:
        backend.submit(job())
    assert str(told.value) == "run first: the trainer could not be started: No such file or directory: /nowhere/python."
    assert backend.runs() == []
    assert not any(p for p in tmp_path.rglob("*") if p.is_file())


def test_cancel_lets_it_save_and_end(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--steps", "1000", "--seconds", "0.02", "--save-seconds", "0.2")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    backend.cancel(ref)
    backend.cancel(ref)
    status = ended(backend, ref)
    assert (status.state, status.reason, status.exit_code) == ("Cancelled", "", 143)
    results = Path(ref.location) / "results"
    assert backend.adapter(ref) == results
    assert list(results.glob("checkpoint-*"))
    assert not (results / "fine_tuning_completed.txt").exists()
    backend.cancel(ref)  # harmless when it has ended
    assert backend.status(ref) == status


def test_a_trainer_that_does_not_listen_is_killed_after_the_grace(
    local: Local, job: Job, ended: Ended, until: Until
) -> None:
    backend = local("--steps", "1000", "--seconds", "0.02", "--deaf", grace=0.5)
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    backend.cancel(ref)
    status = ended(backend, ref)
    assert (status.state, status.exit_code) == ("Cancelled", -9)
    assert status.reason == "The trainer did not end when asked and was killed: what it had not saved is lost."


def test_sigterm_to_the_supervisor_is_passed_on(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--steps", "1000", "--seconds", "0.02")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    os.kill(json.loads((Path(ref.location) / "process.json").read_text())["supervisor"], signal.SIGTERM)
    status = ended(backend, ref)
    assert (status.state, status.exit_code) == ("Cancelled", 143)
    assert status.reason == "SIGTERM came from outside (a shutdown, or `kill`)."


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux'")
def test_a_killed_supervisor_takes_the_trainer_with_it_after_it_has_saved(
    local: Local, job: Job, ended: Ended, until: Until
) -> None:
    backend = local("--steps", "1000", "--seconds", "0.02", "--save-seconds", "0.3")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    process = json.loads((Path(ref.location) / "process.json").read_text())
    os.kill(process["supervisor"], signal.SIGKILL)
    saving: Status = until(lambda: (s := backend.status(ref)).reason and s)
    assert saving.state == "Running"
    assert saving.reason == "The process that watched over the trainer was killed; the trainer still lives."
    status = ended(backend, ref)
    assert (status.state, status.kind) == ("Failed", "killed")
    assert status.reason == "The process that watched over the trainer was killed, and the trainer ended with it."
    assert backend.adapter(ref) is not None
    until(lambda: not Path(f"/proc/{process['pid']}").exists())


def test_a_trainer_that_outlives_its_supervisor_can_still_be_cancelled(
    local: Local, job: Job, ended: Ended, until: Until
) -> None:
    backend = local("--deaf", "--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    os.kill(json.loads((Path(ref.location) / "process.json").read_text())["supervisor"], signal.SIGKILL)
    until(lambda: backend.status(ref).reason)
    backend.delete(ref)
    assert backend.runs() == []


def test_a_restarted_machine_is_told_from_a_kill(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    folder = Path(ref.location)
    process = json.loads((folder / "process.json").read_text())
    for who in ("supervisor", "pid"):
        os.kill(process[who], signal.SIGKILL)
    assert ended(backend, ref).kind == "killed"
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"boot": "an earlier life", "host": "gpu-box"}))
    status = backend.status(ref)
    assert (status.state, status.kind) == ("Failed", "reboot")
    assert status.reason == "gpu-box was restarted while the run was on it (its container counts as a machine)."
    assert status.ended is not None


def test_a_live_run_is_live_whatever_its_boot_id_says(local: Local, job: Job, until: Until) -> None:
    """Another container of the same machine may look at it."""
    backend = local("--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    file = Path(ref.location) / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "elsewhere"}))
    assert backend.status(ref).state == "Running"


def test_a_process_number_that_is_anothers_by_now_is_never_signalled(
    local: Local, job: Job, ended: Ended, until: Until
) -> None:
    backend = local("--hang")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    folder = Path(ref.location)
    process = json.loads((folder / "process.json").read_text())
    for who in ("supervisor", "pid"):
        os.kill(process[who], signal.SIGKILL)
    ended(backend, ref)
    (folder / "process.json").write_text(json.dumps({"pid": os.getpgrp(), "supervisor": os.getpid(), "started": 1.0}))
    backend.cancel(ref)
    backend.delete(ref)  # and we are still here
    assert backend.runs() == []


def test_what_the_trainer_leaves_in_its_group_is_ended(local: Local, job: Job, ended: Ended, until: Until) -> None:
    backend = local("--steps", "3", "--child")
    ref = backend.submit(job())
    assert ended(backend, ref).state == "Succeeded"
    pid = json.loads((Path(ref.location) / "process.json").read_text())["pid"]
    until(lambda: set(processes(2, pid)) <= {"Z"})  # reaped by the system, in its own time


def test_runs_go_on_side_by_side(local: Local, job: Job, ended: Ended) -> None:
    backend = local("--steps", "20", "--seconds", "0.01")
    refs = [backend.submit(job(name)) for name in ("one", "two", "three")]
    assert [ended(backend, ref).state for ref in refs] == ["Succeeded"] * 3
    assert [steps(backend, ref) for ref in refs] == [list(range(1, 21))] * 3
    assert sorted(r.name for r in backend.runs()) == ["one", "three", "two"]


def test_a_name_is_taken_as_long_as_its_run_is_there(local: Local, job: Job, ended: Ended) -> None:
    backend = local("--steps", "1000", "--seconds", "0.02")
    ref = backend.submit(job())
    with pytest.raises(SpecError) as told:
        backend.submit(job())
    assert str(told.value) == (
        'metadata.name: "first" is the name of a run that is going on. '
        "Choose another name, or end that run first with `%kaito cancel first`."
    )
    backend.cancel(ref)
    ended(backend, ref)
    with pytest.raises(SpecError) as told:
        backend.submit(job())
    assert str(told.value) == (
        'metadata.name: "first" is the name of an earlier run here (Cancelled). '
        "Choose another name, or remove that run and its adapter with `%kaito delete first`."
    )
    backend.submit(job(namespace="other"))
    backend.delete(ref)
    backend.submit(job())


def test_two_who_want_one_name_at_once_cannot_both_have_it(
    local: Local, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = local("--steps", "1")
    backend.submit(job())
    monkeypatch.setattr(LocalBackend, "problems", lambda *_: [])  # both have looked before either was there
    with pytest.raises(SpecError, match='"first" was taken just now'):
        backend.submit(job())
    assert [p.name for p in backend.root.iterdir()] == ["default"]


def test_a_run_is_found_by_name_and_near_misses_are_named(local: Local, job: Job) -> None:
    backend = local("--steps", "1")
    with pytest.raises(RunNotFound, match=r"run first: there is no such run on this machine\. There is none yet\."):
        backend.find("first")
    ref = backend.submit(job())
    assert backend.find("first") == ref
    assert backend.find("first", "default") == ref
    with pytest.raises(RunNotFound, match=r'run frist: there is no such run on this machine\. Did you mean "first"\?'):
        backend.find("frist")
    with pytest.raises(RunNotFound, match=r"run xyz: .* in namespace default. The latest are: first."):
        backend.find("xyz", "default")
    with pytest.raises(RunNotFound):
        backend.find("../default/first")
    backend.submit(job(namespace="other"))
    with pytest.raises(RunNotFound, match="there are several, in the namespaces default, other"):
        backend.find("first")


def test_delete_ends_a_live_run_and_leaves_nothing(local: Local, job: Job, until: Until) -> None:
    backend = local("--deaf", "--hang", "--child")
    ref = backend.submit(job())
    until(lambda: steps(backend, ref))
    process = json.loads((Path(ref.location) / "process.json").read_text())
    backend.delete(ref)
    assert backend.runs() == []
    assert not Path(ref.location).exists()
    assert [p.name for p in backend.root.rglob("*")] == ["default"]
    until(lambda: not Path(f"/proc/{process['pid']}").exists())
    for ask in (backend.status, backend.spec, backend.logs, backend.record, backend.delete):
        with pytest.raises(RunNotFound, match="run first: there is no such run any more"):
            ask(ref)


def test_a_folder_that_the_user_named_gets_the_adapter_and_outlives_the_run(
    local: Local, job: Job, ended: Ended, tmp_path: Path
) -> None:
    backend = local("--steps", "2")
    mine = tmp_path / "my adapters" / "one"
    ref = backend.submit(job(output=mine))
    ended(backend, ref)
    assert backend.adapter(ref) == mine
    with pytest.raises(SpecError) as told:
        backend.submit(job("second", output=mine))
    assert str(told.value) == (
        f"tuning.output: {mine} is not empty: an earlier adapter in it would be mixed with the new one. "
        "Name a new folder, or empty that one."
    )
    backend.delete(ref)
    assert (mine / "adapter_config.json").exists()


def test_missing_packages_are_named_with_the_command_that_installs_them(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = importlib.util.find_spec
    gone = ("torch", "trl", "bitsandbytes")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in gone else there(name, *a))
    monkeypatch.delenv(launch.COMMAND_VARIABLE, raising=False)
    backend = LocalBackend(tmp_path)
    with pytest.raises(SpecError) as told:
        backend.submit(job())
    assert str(told.value) == (
        "backend: `torch` and `trl` are not installed here, and training on this machine needs them. "
        f"Run `{sys.executable} -m pip install 'kaito-jupyter[local]'`."
    )
    assert launch.missing_packages("qlora") == ["torch", "trl", "bitsandbytes"]
    assert not list(tmp_path.iterdir())


def test_an_environment_variable_puts_another_trainer_in_place(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: Ended
) -> None:
    monkeypatch.setenv(launch.COMMAND_VARIABLE, f"'{sys.executable}' -c 'import sys; print(sys.argv[1:])'")
    backend = LocalBackend(tmp_path)
    ref = backend.submit(job())
    assert ended(backend, ref).state == "Succeeded"
    folder = ref.location
    expected = ["train", "--config", f"{folder}/config/training_config.yaml", "--mount-root", folder]
    assert backend.logs(ref) == [str(expected)]


def test_the_trainers_environment_is_the_kernels_without_what_is_the_kernels_own(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: Ended
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = "import os, json, sys; print(json.dumps(dict(os.environ))); print(sys.stdin.read() == '', os.getcwd())"
    backend = LocalBackend(tmp_path, command=[sys.executable, "-c", code])
    ref = backend.submit(job())
    ended(backend, ref)
    first, second = backend.logs(ref)
    env = json.loads(first)
    assert "MPLBACKEND" not in env
    assert "JPY_PARENT_PID" not in env
    told = {k: env.get(k) for k in ("MINE", "OMP_WAIT_POLICY", "HF_HUB_DISABLE_TELEMETRY", "PYTHONUNBUFFERED")}
    assert told == {
        "MINE": "kept",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }
    assert second == f"True {ref.location}"


def test_a_record_tells_of_a_run_without_following_it(local: Local, job: Job, ended: Ended) -> None:
    backend = local("--steps", "300", "--history-every", "20", "--raise", "--at", "250")
    ref = backend.submit(job(options={"max_steps": 300}))
    ended(backend, ref)
    (record,) = backend.records()
    assert (record.ref, record.preset, record.method, record.rows, record.total_steps) == (
        ref,
        "phi-4-mini-instruct",
        "lora",
        40,
        300,
    )
    assert record.status.state == "Failed"
    assert any('"global_step":250' in line for line in record.tail)
    assert len(record.tail) <= 20


def test_following_gives_every_line_once_and_the_status_last(local: Local, job: Job) -> None:
    backend = local("--steps", "60", "--seconds", "0.005", "--foreign")
    ref = backend.submit(job())
    items = list(backend.follow(ref, None, threading.Event()))
    texts = [text for item in items if isinstance(item, Lines) for text in item.texts]
    assert texts == backend.logs(ref)
    statuses = [item for item in items if isinstance(item, Status)]
    assert [s.state for s in statuses][-1] == "Succeeded"
    assert "Running" in [s.state for s in statuses]
    assert items[-1] == backend.status(ref)
    assert None in items
    cursors = [item.cursor for item in items if isinstance(item, Lines)]
    again = [
        text
        for item in backend.follow(ref, cursors[0], threading.Event())
        if isinstance(item, Lines)
        for text in item.texts
    ]
    assert again == texts[len(texts) - len(again) :]
    assert len(again) < len(texts)


def test_following_ends_when_it_is_told_to_and_when_the_run_is_deleted(local: Local, job: Job, until: Until) -> None:
    backend = local("--hang")
    ref = backend.submit(job())
    stop = threading.Event()
    for item in backend.follow(ref, None, stop):
        if item is None:
            stop.set()
    until(lambda: steps(backend, ref))
    last: Any = None
    for item in backend.follow(ref, None, threading.Event()):
        if item is None and last is None:
            threading.Thread(target=backend.delete, args=(ref,)).start()
        last = item
    assert isinstance(last, Status)
    assert last.state == "Cancelled"


def test_half_filled_folders_of_dead_makers_are_removed_later(local: Local, job: Job) -> None:
    backend = local("--steps", "1")
    backend.submit(job())
    stale, fresh = backend.root / ".new-stale", backend.root / ".new-fresh"
    for folder in (stale, fresh):
        folder.mkdir()
        (folder / "x").touch()
    os.utime(stale, (1, 1))
    assert [r.name for r in backend.runs()] == ["first"]
    backend.submit(job("second"))
    assert not stale.exists()
    assert fresh.exists()


def test_data_that_cannot_be_written_leaves_nothing(local: Local, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Dataset, path: Path) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Dataset, "write", full)
    backend = local()
    with pytest.raises(BackendError, match=r"run first: its folder .* cannot be made: No space left on device\."):
        backend.submit(job())
    assert [p.name for p in backend.root.rglob("*")] == ["default"]
