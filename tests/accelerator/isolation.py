"""Run the tests of this folder in a process of their own, whose torch has the pretended accelerator.

Torch loads a device when it is imported, and diffusers then takes it for the one to use; so tests that need it and tests
that must not see it cannot share a process. Pytest asks `Child` for the reports of a test here, and the child, which is
pytest too, runs the tests that it is asked for one by one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelerator.environment import PLUGIN, accelerator_environment

#: The environment variable by which a child knows its socket.
_SOCKET = "_OCTABOX_TESTS_SOCKET"

_TESTS = PLUGIN.parents[1]


class Child:
    """A pytest with the device, started for the first test that needs it."""

    def __init__(self, config: pytest.Config, files: list[Path]) -> None:
        ours, theirs = socket.socketpair()
        flags = ["-c", str(config.inipath), "--rootdir", str(config.rootpath), "-p", "accelerator.isolation", "-m", ""]
        environment = {**os.environ, **accelerator_environment(), _SOCKET: str(theirs.fileno())}
        environment["PYTHONPATH"] += os.pathsep + str(_TESTS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *flags, *map(str, files)],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self._config, self._socket, self._stream = config, ours, ours.makefile("rw", encoding="utf-8")

    def run(self, item: pytest.Item, following: pytest.Item | None) -> Iterator[pytest.TestReport]:
        """Yield the reports of a test; the one that follows says which fixtures are to be kept."""
        self._stream.write(json.dumps([item.nodeid, following.nodeid if following else None]) + "\n")
        self._stream.flush()
        for line in self._stream:
            data = json.loads(line)
            if data is None:
                return
            if isinstance(data.get("longrepr"), list):
                # Where a test was skipped: pytest wants the tuple that it was.
                data["longrepr"] = tuple(data["longrepr"])
            yield self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
        raise RuntimeError(f"The process of the test ended with exit code {self._process.wait(10)}.")

    def close(self, *, kill: bool = False) -> None:
        """Stop the child, if there is one."""
        self._stream.close()
        self._socket.close()
        if kill:
            self._process.kill()
        self._process.wait(60)


class Children:
    """The child of a pytest, and another one where it has ended."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def report(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Run a test in the child, and report what it reports."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            if self._child is None:
                files = dict.fromkeys(each.path for each in item.session.items if is_here(each))
                self._child = Child(item.config, list(files))
            for report in self._child.run(item, following):
                item.ihook.pytest_runtest_logreport(report=report)
        except (OSError, RuntimeError, pytest.fail.Exception) as error:
            item.ihook.pytest_runtest_logreport(report=_failure(item, error))
            self.close(kill=True)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def close(self, *, kill: bool = False) -> None:
        """Stop the child, if there is one."""
        if self._child is not None:
            self._child.close(kill=kill)
            self._child = None


def is_here(item: pytest.Item) -> bool:
    """Return whether a test is one of this folder."""
    return item.path.is_relative_to(PLUGIN.parent)


def _failure(item: pytest.Item, error: BaseException) -> pytest.TestReport:
    return pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", str(error), "call", duration=0
    )


class _Asked:
    """In the child: runs the tests that it is asked for, and answers with their reports."""

    def __init__(self, config: pytest.Config, descriptor: int) -> None:
        self._config = config
        self._stream = socket.socket(fileno=descriptor).makefile("rw", encoding="utf-8")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for line in self._stream:
            name, following = json.loads(line)
            item, kept = items[name], items.get(following)
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=kept)
            self._send(None)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._send(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def _send(self, data: Any) -> None:
        self._stream.write(json.dumps(data) + "\n")
        self._stream.flush()


def pytest_configure(config: pytest.Config) -> None:
    """Listen to what the parent asks for, in a child."""
    if descriptor := os.environ.pop(_SOCKET, None):
        config.pluginmanager.register(_Asked(config, int(descriptor)))
