"""The pusher as a process, beside trainers that complete, fail, are killed, or never come; and registries that go away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import file_server
from registries import Registry, login_file, serving, with_password

from kaito_trainer.contract import Event, decode
from kaito_trainer.contract.names import ADAPTER_FILES, EVENTS_FILE, LOCK_FILE, NO_TRAINER
from kaito_trainer.oci import Image

PATIENT = 120.0
HASTY = textwrap.dedent("""
    import sys
    from kaito_trainer import beside, push, registry
    from kaito_trainer.__main__ import main
    beside.PAUSE, beside.PATIENCE = 0.1, float(sys.argv.pop(1))
    push.LOOK_EVERY = push.ALLOW_AFTER_LOCK = 0.1
    registry.with_retries.__kwdefaults__["pause"] = lambda seconds: None
    sys.exit(main(sys.argv[1:]))
""")
"""The command line with its waiting made short; the first argument is how long a push is tried again."""
AS_NOBODY = textwrap.dedent("""
    import encodings.idna, os, stringprep, sys
    from kaito_trainer import push, oci
    from kaito_trainer.__main__ import main
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
""")
"""The command line as another user, who may read nothing of root's."""
TRAINER = textwrap.dedent("""
    import signal, sys, time
    from pathlib import Path
    from kaito_trainer import results
    from kaito_trainer.contract import events
    from kaito_trainer.emit import Emitter
    from kaito_trainer.places import locked

    folder, how = Path(sys.argv[1]), sys.argv[2]
    asked = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))

    def adapter():
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"weights")
        (folder / "README.md").write_text("# A card")

    with locked(folder):
        emit = Emitter(None)
        emit.copy_to(folder)
        emit(events.Phase(phase="training"))
        print("started", flush=True)
        if how == "completes":
            sys.stdin.readline()
            adapter()
            results.complete(folder, 3)
            emit(events.TrainEnd(status="completed", global_step=3))
        elif how == "fails":
            emit(events.Error(kind="out-of-memory", message="Too big."))
        else:
            while not asked:
                time.sleep(0.02)
            time.sleep(0.5)
            adapter()
            emit(events.TrainEnd(status="cancelled", global_step=2))
""")
"""A trainer by its lock, its files and its events: all of it the trainer's own code, only nothing is trained."""


class Beside:
    """One pusher and one trainer in a folder of results."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def trainer(self, how: str) -> subprocess.Popen[str]:
        """A trainer that has begun: it has its lock."""
        done = self._start([sys.executable, "-c", TRAINER, str(self.results), how])
        assert done.stdout
        assert done.stdout.readline() == "started\n"
        return done

    def pusher(
        self, image: str, *arguments: str, patience: float = PATIENT, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-c",
            HASTY,
            str(patience),
            "push",
            image,
            "--results",
            str(self.results),
            *arguments,
        ]
        return self._start(command, env or {})

    def _start(self, command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(self.folder), **(env or {})}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.started.append(process)
        return process

    def adapter(self) -> None:
        """What a trainer leaves that has completed."""
        trainer = self.trainer("completes")
        trainer.communicate("\n", timeout=PATIENT)

    def kept(self) -> bool:
        return all((self.results / name).is_file() for name in ADAPTER_FILES)

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    with contextlib.closing(Beside(tmp_path)) as found:
        yield found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with serving(folder, with_password(folder)) as found:
        yield found


def ended(process: subprocess.Popen[str]) -> tuple[int, list[Event], str]:
    """Exit code, events and the whole output."""
    output, _ = process.communicate(timeout=PATIENT)
    return process.returncode, events(output), output


def events(text: str) -> list[Event]:
    return [e for line in text.splitlines() if (e := decode(line)) is not None]


def until(process: subprocess.Popen[str], wanted: Callable[[Event], bool]) -> list[Event]:
    """Read the process's events up to one."""
    found: list[Event] = []
    assert process.stdout
    for line in process.stdout:
        found += events(line)
        if found and wanted(found[-1]):
            return found
    raise AssertionError(f"it ended before that: {found}")


def handles_sigterm(process: subprocess.Popen[str]) -> None:
    """Wait until a signal would not just end the process."""
    deadline = time.monotonic() + PATIENT
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError("it does not handle SIGTERM")


def of_type(found: list[Event], kind: str) -> dict[str, Any]:
    return next(e.data for e in found if e.type == kind)


def test_a_trainer_that_completes_has_its_adapter_pushed(beside: Beside, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/adapters/good:v1"
    pusher = beside.pusher(name, "--model", "phi-4")
    trainer = beside.trainer("completes")
    trainer.communicate("\n", timeout=PATIENT)
    code, found, _ = ended(pusher)
    assert code == 0
    assert [e.type for e in found] == ["phase", "push"]
    pushed = of_type(found, "push")
    assert pushed["image"] == name
    assert pushed["digest"] == Image(name).pull(tmp_path / "pulled") == Image(name).digest()
    files = {str(p.relative_to(tmp_path / "pulled")) for p in (tmp_path / "pulled").rglob("*") if p.is_file()}
    assert files == {"data/adapter_config.json", "data/adapter_model.safetensors", "data/README.md"}
    manifest = registry.manifest("adapters/good", "v1")
    assert manifest["annotations"]["sh.kaito.model.name"] == "phi-4"
    assert len(manifest["layers"]) == 1
    told = events((beside.results / EVENTS_FILE).read_text())
    assert [e.type for e in told] == ["phase", "train_end", "phase", "push"]
    assert [e.seq for e in told] == list(range(4)), "one numbering for all of a run"


def test_a_killed_trainer_makes_the_pusher_leave_with_an_error(beside: Beside, registry: Registry) -> None:
    pusher = beside.pusher(f"{registry.host}/adapters/killed:v1")
    trainer = beside.trainer("waits")
    with pytest.raises(subprocess.TimeoutExpired):
        pusher.wait(1.0)  # it waits as long as the trainer lives
    trainer.kill()
    code, found, _ = ended(pusher)
    assert code == NO_TRAINER
    assert [e.data["kind"] for e in found] == ["killed"]
    assert "ended without completing" in found[0].data["message"]
    assert Image(f"{registry.host}/adapters/killed:v1").digest() is None


def test_a_trainer_that_told_why_it_failed_is_not_talked_over(beside: Beside, registry: Registry) -> None:
    beside.trainer("fails").communicate(timeout=PATIENT)
    code, _, output = ended(beside.pusher(f"{registry.host}/adapters/failed:v1"))
    assert (code, output) == (NO_TRAINER, "")


def test_what_a_trainer_saved_that_was_asked_to_end_is_pushed(beside: Beside, registry: Registry) -> None:
    name = f"{registry.host}/adapters/asked:v1"
    pusher = beside.pusher(name)
    trainer = beside.trainer("waits")
    handles_sigterm(pusher)
    for process in (pusher, trainer):
        process.send_signal(signal.SIGTERM)
    code, found, output = ended(pusher)
    assert (code, of_type(found, "push")["digest"]) == (0, Image(name).digest()), output


def test_a_pusher_that_is_asked_to_end_waits_for_no_trainer_that_never_began(beside: Beside) -> None:
    beside.results.mkdir()
    pusher = beside.pusher("127.0.0.1:1/x:v1")
    handles_sigterm(pusher)
    pusher.send_signal(signal.SIGTERM)
    assert pusher.wait(PATIENT) != 0
    assert not (beside.results / LOCK_FILE).exists()


def test_a_registry_that_comes_back_gets_the_adapter(beside: Beside, registry: Registry) -> None:
    name = f"{registry.host}/adapters/back:v1"
    beside.adapter()
    registry.stop()
    pusher = beside.pusher(name)
    found = until(pusher, lambda e: "Tried again" in e.data.get("detail", ""))
    assert "cannot be reached" in found[-1].data["detail"]
    assert sum("of 5 failed (ConnectionError)" in str(e.data.get("detail")) for e in found) == 4
    registry.start()
    code, found, _ = ended(pusher)
    assert code == 0
    assert of_type(found, "push")["digest"] == Image(name).digest()


def test_a_registry_that_stays_away_leaves_the_adapter_and_says_how_to_get_it(beside: Beside) -> None:
    beside.adapter()
    code, found, _ = ended(beside.pusher("127.0.0.1:1/x:v1", "--rescue-seconds", "0", patience=0))
    assert code == 1
    told = found[-1].data
    assert (found[-1].type, told["kind"]) == ("error", "push")
    assert told["remedy"].endswith(f"The adapter is safe in {beside.results}.")
    assert beside.kept()

    pod = {
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "POD_NAME": "mine-abc",
        "POD_NAMESPACE": "team-a",
    }
    pusher = beside.pusher("127.0.0.1:1/x:v1", patience=0, env=pod)
    line = next(e for e in until(pusher, lambda e: e.type == "error") if e.type == "error")
    assert line.data["remedy"].endswith(f"kubectl cp -n team-a -c pusher mine-abc:{beside.results} adapter")
    assert len(json.dumps(line.data)) < 1500, "the kubelet keeps 2048 bytes of a container's last words"
    with pytest.raises(subprocess.TimeoutExpired):
        pusher.wait(1.0)  # it stays for who fetches the adapter
    pusher.send_signal(signal.SIGTERM)
    assert pusher.wait(PATIENT) == 1
    assert beside.kept()


def test_a_wrong_password_is_found_before_the_training(beside: Beside, closed: Registry) -> None:
    name = f"{closed.host}/adapters/x:v1"
    wrong = login_file(beside.folder / "wrong.json", closed.host, "canary-wrong")
    code, found, output = ended(beside.pusher(name, "--check", "--auth-file", str(wrong)))
    assert code == 1
    assert [e.data["kind"] for e in found] == ["registry-auth"]
    assert "canary" not in output
    right = login_file(beside.folder / "right.json", closed.host)
    assert ended(beside.pusher(name, "--check", "--auth-file", str(right))) == (0, [], "")
    broken = beside.folder / "broken.json"
    broken.write_text("canary")
    code, found, output = ended(beside.pusher(name, "--check", "--auth-file", str(broken)))
    assert (code, found[0].data["kind"]) == (1, "registry-auth")
    assert "canary" not in output


def test_a_login_that_ran_out_during_the_training_may_be_renewed(beside: Beside, closed: Registry) -> None:
    beside.adapter()
    name = f"{closed.host}/adapters/renewed:v1"
    file = login_file(beside.folder / "login.json", closed.host, "canary-run-out")
    pusher = beside.pusher(name, "--auth-file", str(file))
    found = until(pusher, lambda e: "The login is read anew each time." in e.data.get("detail", ""))
    renewed = login_file(beside.folder / "renewed.json", closed.host)
    renewed.replace(file)
    code, more, output = ended(pusher)
    assert code == 0
    assert of_type(more, "push")["digest"] == Image(name, auth_files=(file,)).digest()
    assert "canary" not in f"{found}{output}{(beside.results / EVENTS_FILE).read_text()}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_a_pusher_of_another_user_reads_what_the_trainer_left(registry: Registry) -> None:
    name = f"{registry.host}/adapters/nobody:v1"
    with tempfile.TemporaryDirectory() as place, contextlib.closing(Beside(Path(place))) as beside:
        Path(place).chmod(0o755)
        beside.adapter()
        command = [sys.executable, "-c", AS_NOBODY, "push", name, "--results", str(beside.results)]
        code, found, output = ended(beside._start(command))
        assert (code, of_type(found, "push")["digest"]) == (0, Image(name).digest()), output
        (beside.results / "adapter_config.json").chmod(0o600)
        code, found, _ = ended(beside._start(command))
        assert code == 1
        assert found[-1].data["message"].endswith("adapter_config.json may not be read by user 65534.")


def test_no_adapter_is_said_at_once(beside: Beside, registry: Registry) -> None:
    beside.adapter()
    (beside.results / "adapter_model.safetensors").unlink()
    code, found, _ = ended(beside.pusher(f"{registry.host}/adapters/none:v1"))
    assert code == 1
    assert found[-1].data["message"] == f"There is no adapter_model.safetensors in {beside.results}."


def test_a_download_that_is_asked_to_end_waits_for_no_server(beside: Beside, tmp_path: Path) -> None:
    asked, ends = threading.Event(), threading.Event()
    with file_server() as server:

        def stalls(handler: Any) -> bool:
            asked.set()
            return ends.wait(PATIENT)

        server.plan[:] = [stalls]
        command = [sys.executable, "-m", "kaito_trainer", "download", "--allow-private", "--to", str(tmp_path / "data")]
        process = beside._start([*command, "--results", str(beside.results), server.url()])
        assert asked.wait(PATIENT)
        process.send_signal(signal.SIGTERM)
        code, _, _ = ended(process)
        assert not ends.is_set()
        ends.set()
    assert code == 143


def test_downloads_tell_into_the_runs_file_and_their_secrets_to_nobody(beside: Beside, tmp_path: Path) -> None:
    url = "http://user:canary@127.0.0.1:1/x.json?sig=canary"
    command = [sys.executable, "-m", "kaito_trainer", "download", "--to", str(tmp_path / "data")]
    command += ["--results", str(beside.results)]
    code, found, output = ended(beside._start(command, {"DATA_URLS": url}))
    assert code == 1
    assert [e.type for e in found] == ["phase", "error"]
    assert "leads to the private address 127.0.0.1" in found[1].data["message"]
    kept = (beside.results / EVENTS_FILE).read_text()
    assert kept == output
    assert "canary" not in kept
    code, found, _ = ended(beside._start(command, {"DATA_URLS": " "}))
    assert (code, found[-1].data["message"]) == (1, "There is nothing to download.")
