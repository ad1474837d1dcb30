"""The host's memory, as the system reports it."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.engine.memory.host import host_memory, private_bytes, reserve

GIB = 2**30


def test_a_container_has_what_its_limit_leaves(tmp_path: Path) -> None:
    """The cache of files that are not in use is not memory in use."""
    info = tmp_path / "meminfo"
    info.write_text("MemTotal:       8388608 kB\nMemAvailable:   6291456 kB\n")
    assert (6 * GIB, 8 * GIB) == host_memory(info, tmp_path)

    for name, text in (("max", 4 * GIB), ("current", 3 * GIB), ("stat", f"anon 1\ninactive_file {GIB}\n")):
        (tmp_path / f"memory.{name}").write_text(str(text))
    assert (2 * GIB, 4 * GIB) == host_memory(info, tmp_path)

    (tmp_path / "memory.max").write_text("max")
    assert (6 * GIB, 8 * GIB) == host_memory(info, tmp_path)
    assert host_memory(tmp_path / "missing") is None


@pytest.mark.parametrize(("total", "left"), [(80 * GIB, 4 * GIB), (8 * GIB, GIB // 2), (GIB, GIB // 10)])
def test_a_reserve_is_a_share_of_what_there_is(total: int, left: int) -> None:
    """It is half a GiB at least, and a tenth at most."""
    assert left == reserve(total)


def test_mapped_files_are_not_what_a_process_alone_holds(tmp_path: Path) -> None:
    """They leave memory where others need it; of a process that has ended, nothing is known."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text(
        "VmRSS:\t  900 kB\nRssAnon:\t  300 kB\nRssFile:\t  500 kB\nRssShmem:\t  100 kB\n"
    )

    assert [400 * 1024, 0] == [private_bytes(pid, tmp_path) for pid in (7, 8)]
