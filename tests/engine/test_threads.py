"""The default number of threads of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.engine import threads
from octabox.engine.threads import THREAD_VARIABLES, default_threads


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine with four physical cores of two logical processors each, all of which may be used."""
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_usable_processors", lambda: range(8))
    for processor in range(8):
        write(
            tmp_path,
            f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list",
            f"{processor % 4},{processor % 4 + 4}",
        )
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    """Write a file of the system."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def test_a_thread_for_each_physical_core(machine: Path) -> None:
    """Two logical processors of one core count once."""
    assert 4 == default_threads(machine)


def test_affinity_limits_the_cores(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the cores count that this process may run on."""
    monkeypatch.setattr(threads, "_usable_processors", lambda: {0, 1, 4})

    assert 2 == default_threads(machine)


@pytest.mark.parametrize(
    ("quota", "count"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_a_control_group_limits_the_threads(machine: Path, quota: str, count: int) -> None:
    """The quota of this process's group is rounded up, to one thread at least."""
    write(machine, "proc/self/cgroup", "0::/pods/one")
    write(machine, "sys/fs/cgroup/pods/one/cpu.max", quota)

    assert count == default_threads(machine)


def test_a_group_further_up_limits_too(machine: Path) -> None:
    """The tightest quota on the way to the top counts."""
    write(machine, "proc/self/cgroup", "0::/pods/one")
    write(machine, "sys/fs/cgroup/pods/one/cpu.max", "300000 100000")
    write(machine, "sys/fs/cgroup/pods/cpu.max", "200000 100000")

    assert 2 == default_threads(machine)


def test_the_first_version_of_control_groups_is_read(machine: Path) -> None:
    """Older systems keep the quota and its period in two files; -1 is no limit."""
    write(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    write(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000")
    limited = default_threads(machine)
    write(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")

    assert (2, 4) == (limited, default_threads(machine))


def test_a_system_that_describes_no_cores_counts_processors(tmp_path: Path, machine: Path) -> None:
    """Without a description of the cores, each logical processor is one."""
    assert 8 == default_threads(tmp_path / "nothing")


@pytest.mark.parametrize("name", THREAD_VARIABLES)
def test_what_the_user_has_set_is_left_alone(machine: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A number that is set for a library of torch is not overridden."""
    monkeypatch.setenv(name, "3")

    assert 0 == default_threads(machine)
