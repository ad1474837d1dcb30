"""A server over a folder into which tiny pipelines are saved, and a summary of what is served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

import makers
from octabox.catalog.pipelines import PACKAGE, load_catalog
from serving import running_server

#: Classes that passed in this run.
served: set[str] = set()

#: Why a class is missing that a maker is there for.
NOT_NOW = "not asked for, or failed"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server's folder of models."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[httpx.Client]:
    """Return a client of a server over the folder; it holds one model in memory."""
    with (
        running_server(folder, "--max-resident", "1") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        yield client


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each class whose test passed."""
    name = dict(report.user_properties).get("served")
    if report.when == "call" and report.passed and isinstance(name, str):
        served.add(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many classes were served, and why the others were not."""
    if not served:
        return
    known = [entry.name for entry in load_catalog().pipelines.values() if entry.package == PACKAGE]
    reasons: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(known) - served):
        reasons[why_not(name)].append(name)
    terminalreporter.section("pipelines served over HTTP")
    terminalreporter.line(f"{len(served)} of {len(known)} classes, each from its folder, for all its tasks.")
    for reason, names in sorted(reasons.items()):
        shown = f": {', '.join(names)}" if reason != NOT_NOW else ""
        terminalreporter.line(f"{len(names)} not run: {reason}{shown}")


def why_not(name: str) -> str:
    """Return why a class was not run."""
    known = yaml.safe_load(Path(makers.__file__).with_name("impossible.yaml").read_text(encoding="utf-8")) or {}
    entry = load_catalog().pipeline(name)
    if name in known:
        return str(known[name])
    if name in makers.pipelines():
        missing = makers.pipelines()[name].missing
        return f"needs {', '.join(missing)}" if missing else NOT_NOW
    if entry.deprecated:
        return "deprecated by diffusers, and no tiny one is made"
    return "no tiny one is made yet"
