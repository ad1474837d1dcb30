"""How tests are spread over processes where pytest-xdist is asked to, as `make test` does."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: Most processes: what more of them gain is lost to what each has to start.
MOST = 8

#: Bytes of memory for one process: diffusers in itself, in the fork server of its engine, and in the servers that it starts.
NEEDED = 3 << 30

#: Folders, files and tests over all pipelines, spread one by one: each takes long and prepares what it needs by itself.
ONE_BY_ONE = (
    "tests/pipelines/",
    "tests/accelerator/test_pipelines.py",
    "tests/engine/worker/inputs/test_effects.py::test_no_parameter_with_an_effect_is_found",
)

#: Option that runs one part of the tests, of whole files as far as they are not spread one by one.
PART = "--part"

#: Folders whose files take longest: what begins last decides when all is done.
FIRST = (
    "tests/tools/test_gpu_check.py",
    "tests/pipelines/",
    "tests/e2e/",
    "tests/docs/",
    "tests/service/workflows/",
    "tests/cli/",
    "tests/engine/",
)


def processes(cores: int, memory: int) -> int:
    """Return into how many processes tests are spread; 0 for none but the one that was started.

    Args:
        cores: How many cores there are.
        memory: How many bytes of memory are free.
    """
    # A process that waits for a server or a command leaves its core to another one.
    found = min(cores + cores // 2, memory // NEEDED, MOST)
    return found if found > 1 else 0


def part(text: str) -> tuple[int, int]:
    """Return the number of a part, counted from zero, and of how many it is one, as in ``3/8``.

    Raises:
        argparse.ArgumentTypeError: The text has another form, or there are no parts.
    """
    found = re.fullmatch(r"(\d+)/([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 3/8")
    return int(found[1]) % int(found[2]), int(found[2])


def own_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Return how many bytes of memory are free; what all processes need where the system does not tell."""
    file = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable: +(\d+) kB$", file.read_text("ascii"), re.MULTILINE) if file.exists() else None
    return int(found[1]) * 1024 if found else MOST * NEEDED


def unit(nodeid: str) -> str:
    """Return what a test is given to a process together with: its file, or nothing but itself."""
    return nodeid if nodeid.startswith(ONE_BY_ONE) else nodeid.partition("::")[0]


def turn(item: pytest.Item) -> tuple[bool, int]:
    """Return when a test has its turn: first what is slow, then what lies in a folder that takes long."""
    places = (place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder))
    return item.get_closest_marker("slow") is None, next(places, len(FIRST))


class Scheduling(LoadFileScheduling):  # type: ignore[misc] # it ships no types
    """Gives whole files to processes, so that what a file prepares is prepared once."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


class Spreading:
    """Hooks for pytest-xdist."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out other parts, and put first what takes long, in a process to which tests are given."""
        if chosen := config.getoption(PART, None):
            number, parts = chosen
            places = {name: place for place, name in enumerate(dict.fromkeys(unit(item.nodeid) for item in items))}
            others = {item for item in items if places[unit(item.nodeid)] % parts != number}
            config.hook.pytest_deselected(items=[item for item in items if item in others])
            items[:] = [item for item in items if item not in others]
        if hasattr(config, "workerinput"):
            items.sort(key=turn)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_auto_num_workers(self) -> int:
        """Return how many processes this machine has room for."""
        return processes(own_cores(), free_memory())

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Scheduling | None:
        """Return what gives whole files to processes in the order of the tests; None where something else was asked for."""
        if config.getoption("dist") != "loadfile":
            return None
        config.option.loadscopereorder = False
        return Scheduling(config, log)
