"""The process that watches over one local trainer: `python -I -S supervisor.py FOLDER LOCK_FD`. Standard library only.

It is run as a file, by a bare interpreter, so that it starts in milliseconds and needs a few megabytes for days. It
forks once and its first half ends, so that it is nobody's child: no kernel has to reap it, and a kernel that ends its
children does not find it. It then

* starts the trainer in a process group of its own, with stdout and stderr in `trainer.log`;
* holds `supervisor.lock` (inherited, locked, from the one who submits: there is no moment without a holder), and lets
  the trainer's processes hold `trainer.lock`. A free lock is a dead process, whatever has become of its number;
* passes SIGTERM on, on its own SIGTERM or when `cancel.json` appears, and SIGKILL to the group after the grace there;
* ends what the trainer left in its group, and writes `exit.json`, complete or not at all.

When the supervisor itself is killed, the trainer gets SIGTERM from the Linux kernel (PR_SET_PDEATHSIG), so that it saves
and ends: a trainer that nobody watches over must not keep a GPU. On macOS, which has nothing like it, the trainer goes
on; its lock tells that it does, and `cancel` then signals it directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN_FILE = "run.json"
LOG_FILE = "trainer.log"
PROCESS_FILE = "process.json"
CANCEL_FILE = "cancel.json"
EXIT_FILE = "exit.json"
TRAINER_LOCK = "trainer.lock"
SUPERVISOR_LOCK = "supervisor.lock"
SUPERVISOR_LOG = "supervisor.log"

POLL = 0.25
"""Seconds between two looks for `cancel.json`. The trainer's end is not polled for: SIGCHLD wakes the loop."""
CANNOT_START = 127
_PR_SET_PDEATHSIG = 1
_VICTIM = 300
"""Added to the trainer's OOM score: when memory runs out the kernel of the notebook should survive its trainer."""


def main(argv: list[str]) -> int:
    folder, lock = Path(argv[1]), int(argv[2])
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.close(lock)
        with os.fdopen(told, encoding="utf-8") as answer:
            complaint = answer.read()
        sys.stderr.write(complaint)
        return 1 if complaint else 0
    os.close(told)
    # The one who submits reads the first half's stderr to its end: nothing of it may stay open here.
    errors = os.open(folder / SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(errors, stream)
    os.close(errors)
    Supervisor(folder).run(started=lambda complaint: _answer(tell, complaint))
    return 0


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told_to_end: float | None = None
        """When the trainer was first told."""
        self.deadline = float("inf")
        self.killed = False
        self.signalled = False

    def run(self, started: Callable[[str], None]) -> None:
        wake, waker = os.pipe()
        for end in (wake, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        # Handled, not ignored: an ignored signal would be inherited by the trainer.
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, lambda *_: None)

        oom_before, began = oom_kills(), time.time()
        try:
            pid = self._start()
        except OSError as error:
            complaint = f"{error.strerror}: {error.filename}"
            self._write(EXIT_FILE, {"exit_code": CANNOT_START, "error": complaint, "started": began, "ended": began})
            started(complaint)
            return
        self._write(PROCESS_FILE, {"pid": pid, "supervisor": os.getpid(), "started": began})
        started("")
        code = self._wait(pid, wake)
        self._write(
            EXIT_FILE,
            {
                "exit_code": code,
                "started": began,
                "ended": time.time(),
                "told_to_end": self.told_to_end,
                "killed_after_grace": self.killed,
                "oom_kills": max(0, oom_kills() - oom_before),
                "max_rss_bytes": _max_rss(),
            },
        )

    def _start(self) -> int:
        import fcntl  # late, like `resource`: Windows has neither, and imports this file for its names

        run = json.loads((self.folder / RUN_FILE).read_text(encoding="utf-8"))
        trainer_lock = os.open(self.folder / TRAINER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(trainer_lock, fcntl.LOCK_EX)
        log = os.open(self.folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                run["command"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                pass_fds=(trainer_lock,),
                preexec_fn=_trainers_first_words(),  # noqa: PLW1509  (this process has one thread)
            )
        finally:
            os.close(log)
            os.close(trainer_lock)  # the trainer's copy keeps it locked
        return process.pid

    def _wait(self, pid: int, wake: int) -> int:
        """The exit code of the trainer; negative: ended by that signal."""
        while (code := _reap(pid)) is None:
            select.select([wake], [], [], POLL)
            with contextlib.suppress(BlockingIOError):
                while os.read(wake, 512):
                    pass
            self._obey(pid)
        return code

    def _obey(self, pid: int) -> None:
        """End the trainer when it was asked for: first by SIGTERM to it alone, at the end by SIGKILL to its group."""
        grace = self._grace()
        if grace is None:
            return
        now = time.time()
        if self.told_to_end is None:
            self.told_to_end = now
            if grace > 0:
                os.kill(pid, signal.SIGTERM)
        self.deadline = min(self.deadline, now + grace)
        if now >= self.deadline and not self.killed:
            self.killed = True
            _kill_group(pid, signal.SIGKILL)

    def _grace(self) -> float | None:
        """Seconds that the trainer has for ending, or None when nobody wants it to end."""
        try:
            return float(json.loads((self.folder / CANCEL_FILE).read_text(encoding="utf-8"))["grace"])
        except FileNotFoundError:
            return float("inf") if self.signalled else None
        except (OSError, ValueError, KeyError, TypeError):
            return 60.0

    def _on_signal(self, *_: object) -> None:
        self.signalled = True

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Complete or not at all. Suppressed when the folder is gone (deleted) or full: the locks still tell the truth."""
        with contextlib.suppress(OSError):
            write_atomically(self.folder / name, json.dumps(content))


def write_atomically(path: Path, text: str) -> None:
    """Also after a crash of the machine the file is the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def oom_kills() -> int:
    """How often the system has killed for want of memory: in this control group if it counts, else on this machine."""
    counters = [Path("/proc/vmstat")]
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                counters.insert(0, Path(f"/sys/fs/cgroup{path}/memory.events"))
            elif "memory" in controllers.split(","):
                counters.insert(0, Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
    for counter in counters:
        with contextlib.suppress(OSError, ValueError):
            for line in counter.read_text(encoding="utf-8").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _trainers_first_words() -> Callable[[], None]:
    """What the trainer's process does between fork and exec. The library is loaded before: there is no time for it then."""
    supervisor = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def between_fork_and_exec() -> None:
        if libc is None:
            return
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != supervisor:  # it died before the line above
            os._exit(143)
        with contextlib.suppress(OSError):
            score = Path("/proc/self/oom_score_adj")
            score.write_text(str(min(1000, int(score.read_text(encoding="ascii")) + _VICTIM)), encoding="ascii")

    return between_fork_and_exec


def _reap(pid: int) -> int | None:
    """The trainer's exit code once it has ended, its whole group with it; None before."""
    if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        _kill_group(pid, signal.SIGKILL)  # not reaped yet: the number is still its own
        _, status = os.waitpid(pid, 0)
    else:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        _kill_group(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _max_rss() -> int:
    """Peak memory of the trainer's processes, in bytes."""
    import resource

    kilo = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * kilo


def _answer(pipe: int, complaint: str) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "w", encoding="utf-8") as out:
        out.write(complaint)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
