"""The default number of CPU threads of a model."""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from pathlib import Path

#: Folder with Linux's descriptions of processors and control groups.
SYSTEM = Path("/")

#: Variables that set the number of threads of torch's libraries.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def default_threads(root: Path = SYSTEM) -> int:
    """Return the number of physical cores that this process may use; 0 where a variable sets it.

    Args:
        root: Folder with ``sys`` and ``proc``.
    """
    if any(os.environ.get(name) for name in THREAD_VARIABLES):
        return 0
    cores = _physical_cores(_usable_processors(), root)
    return max(1, min(cores, math.ceil(_cpu_quota(root))) if _cpu_quota(root) else cores)


def _usable_processors() -> Collection[int]:
    """Return the logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _physical_cores(processors: Collection[int], root: Path) -> int:
    """Return the number of physical cores of these logical processors; that of the processors where it is not known."""
    cores = set()
    for processor in processors:
        file = root / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"
        try:
            cores.add(file.read_text(encoding="ascii").strip())
        except OSError:
            return len(processors)
    return len(cores)


def _cpu_quota(root: Path) -> float:
    """Return the CPU limit of the control groups of this process, in processors; 0 is no limit."""
    quotas = [*_quotas_of_version_2(root), *_quota_of_version_1(root)]
    return min(quotas, default=0.0)


def _quotas_of_version_2(root: Path) -> list[float]:
    """Return the limits of this process's control group and of its parents."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    top = root / "sys/fs/cgroup"
    folders = [top / path, *(top / path).parents]
    files = [folder / "cpu.max" for folder in folders if folder == top or top in folder.parents]
    return [quota for file in files if (quota := _ratio(*_words(file)))]


def _quota_of_version_1(root: Path) -> list[float]:
    """Return the limit of the control group, where the system has version 1 of them."""
    folder = root / "sys/fs/cgroup/cpu"
    quota = _ratio(*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us"))
    return [quota] if quota else []


def _words(file: Path) -> list[str]:
    """Return the words of a small file; [] if it does not exist."""
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


def _ratio(quota: str = "", period: str = "") -> float:
    """Return a quota as a number of processors; 0 is no limit."""
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0
