"""What this process may use of its machine: CPUs and memory, by the container's limits where there are any."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")


def cpus(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may keep busy. Without it torch starts a thread for each of the node's cores in a small pod."""
    try:
        there = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        there = os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, there if quota is None else min(there, math.ceil(quota)))


def memory(cgroup: Path = CGROUP) -> int:
    """Bytes of the machine, or that the container may use."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_number(cgroup / name) for name in ("memory.max", "memory/memory.limit_in_bytes"))
    return min([there, *(int(limit) for limit in limits if limit is not None)])


def _quota(cgroup: Path) -> float | None:
    """CPUs by the container's limit: control groups' second version, then the first."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    told = _number(cgroup / "cpu" / "cpu.cfs_quota_us")
    each = _number(cgroup / "cpu" / "cpu.cfs_period_us")
    return told / each if told and each and told > 0 else None


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max": no limit
        return None


__all__ = ["cpus", "memory"]
