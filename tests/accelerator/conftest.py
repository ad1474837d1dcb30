"""Every test of this folder runs where torch has the pretended accelerator; see `isolation` and `plugin/pretended_accelerator`.

To look into one with a debugger, give pytest the device itself: ``PYTHONPATH=tests/accelerator/plugin
PRETENDED_ACCELERATOR=1 pytest --pdb tests/accelerator/...``.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import pretended_accelerator
from accelerator.environment import accelerator_environment
from accelerator.isolation import Children, is_here
from octabox.engine.memory import learned
from pretended_accelerator.settings import PREFIX
from serving import running_server

#: Memory modes that `make test` leaves to `make test-slow`: full and group_offload are the two extremes.
SLOW_MODES = {"model_cpu_offload", "sequential_cpu_offload"}

#: Files that `make test` leaves to `make test-slow`: they combine settings, interrupt models, or start many processes.
SLOW_FILES = {
    "test_dtypes.py",
    "test_failures.py",
    "test_forkserver.py",
    "test_hooks.py",
    "test_performance.py",
    "test_processes.py",
    "test_settings_together.py",
}

_children = Children()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what repeats a test for more memory modes, and files of combinations."""
    for item in filter(is_here, items):
        values = (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        if item.path.name in SLOW_FILES or SLOW_MODES & {value for value in values if isinstance(value, str)}:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run the tests of this folder in a process that has the device, unless this one has it."""
    if os.environ.get(PREFIX) or not is_here(item):
        return None
    _children.report(item, nextitem if nextitem and is_here(nextitem) else None)
    return True


def pytest_sessionfinish() -> None:
    """Let that process end."""
    _children.close()


@pytest.fixture(scope="session", autouse=True)
def _imports_are_no_garbage() -> None:
    """Let a collection look at nothing that was imported: it takes milliseconds then, and each test can have one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def accelerator() -> Iterator[pretended_accelerator.Control]:
    """Return what changes and counts the device; each test finds it as at the beginning, without the last one's garbage."""
    control = pretended_accelerator.control()
    gc.collect()
    control.reset()
    yield control
    control.reset()


@pytest.fixture(autouse=True)
def nothing_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test begin without what calls of earlier ones have needed."""
    monkeypatch.setattr(learned, "cache_folder", lambda: tmp_path / "measured")


@pytest.fixture
def accelerator_server() -> Iterator[Callable[..., str]]:
    """Return what starts a server with the device over a folder of models, with flags and settings, and returns its address."""
    with ExitStack() as stack:

        def start(models: Path, *flags: str, **settings: Any) -> str:
            return stack.enter_context(running_server(models, *flags, environment=accelerator_environment(**settings)))

        yield start
