"""The memory of this machine's host."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

#: Smallest reserve in bytes, and its share of the total memory; no reserve is more than a tenth of the total.
MIN_RESERVE, RESERVE_SHARE, MAX_RESERVE_SHARE = 2**29, 0.05, 0.1

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def reserve(total: int) -> int:
    """Return how many bytes of a device or the host are left to others.

    Args:
        total: Bytes that it has.
    """
    return round(min(max(MIN_RESERVE, RESERVE_SHARE * total), MAX_RESERVE_SHARE * total))


def host_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> tuple[int, int] | None:
    """Return the available and the total bytes of the host, within the limit of a container; None if they are not known."""
    try:
        fields = dict(re.findall(r"^(\w+): +(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE))
        available, total = int(fields["MemAvailable"]) * 1024, int(fields["MemTotal"]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        cached = re.search(r"^inactive_file (\d+)", (cgroup / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
        available = min(available, max(0, limit - used + (int(cached[1]) if cached else 0)))
        total = min(total, limit)
    return available, total


def private_bytes(pid: int, proc: Path = _PROC) -> int:
    """Return the bytes of the host that only a process holds, without files that it has mapped; 0 if they are not known."""
    try:
        status = (proc / str(pid) / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return 1024 * sum(int(size) for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE))
