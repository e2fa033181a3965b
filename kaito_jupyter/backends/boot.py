"""Which life of which machine this is, so that a run of an earlier life is not mistaken for one that was killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Changes when the machine restarts, and when the container does that we are in; empty when the system won't tell.

    A container shares its machine's boot id, so the moment when its first process began is part of it (on a machine
    without containers that is one with the boot).
    """
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
        return ""
    with contextlib.suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{machine}:{_first_process_began()}"
    return ""


def _first_process_began() -> str:
    """Clock ticks since boot (proc(5): the 22nd field of stat; the second is a name that may hold anything)."""
    with contextlib.suppress(OSError, IndexError):
        return Path("/proc/1/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""
