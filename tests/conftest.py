"""What all tests share: one engine, whose fork server is warm, calls of the embedded model, and the catalog's cache."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from embedded import Calls
from local_hub import LocalHub
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.telemetry.logs import LIBRARIES
from serving import running_server
from spreading import PART, Spreading, part
from summaries import Summaries

#: Seconds after which what lies in the catalog's cache is removed: tests write pipelines into folders that are gone soon.
OLD = 24 * 60 * 60

#: Loggers that a server configures, and how each was at the start: its handlers, level and propagation.
LOGGERS = [
    (logger, tuple(logger.handlers), logger.level, logger.propagate)
    for logger in map(logging.getLogger, ("octabox", *LIBRARIES))
]

#: Folder of the data of servers.
DATA = tempfile.TemporaryDirectory(prefix="octabox-test-", ignore_cleanup_errors=True)

# A machine that is busy with other tests is slow at any of them.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models gain nothing by a second thread, which would only wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A server in the background would outlive the test that has started it.
os.environ["OCTABOX_RUN_SERVER"] = "false"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs a part of the tests."""
    parser.addoption(
        PART,
        type=part,
        metavar="K/N",
        help="of the files, and of the tests over all pipelines, each N-th, beginning with the K-th (counted from zero)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say how tests are spread over processes, what the end tells, and where all processes keep the catalog."""
    config.pluginmanager.register(Spreading())
    config.pluginmanager.register(Summaries())
    # Servers that tests start without a folder of their own share none with the user's.
    os.environ["OCTABOX_DATA_DIR"] = DATA.name
    if cache := getattr(config, "cache", None):
        folder = cache.mkdir(f"catalog-{sys.implementation.cache_tag}")
        for file in [each for each in folder.iterdir() if each.stat().st_mtime < time.time() - OLD]:
            file.unlink(missing_ok=True)
        os.environ.setdefault("OCTABOX_CACHE_DIR", str(folder))


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Restore all loggers before and after a test: building a server configures those of the whole process.

    They become what they were at the start, not what they were before this test: a fixture of a module is set up earlier.
    """
    _restore_loggers()
    yield
    _restore_loggers()


def _restore_loggers() -> None:
    logging.captureWarnings(capture=False)
    for logger, handlers, level, propagate in LOGGERS:
        for handler in [each for each in logger.handlers if each not in handlers]:
            handler.close()
        logger.handlers, logger.propagate = list(handlers), propagate
        logger.setLevel(level)


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Return a Hub that this process and those that it starts use, with an empty cache and without a token."""
    # What is imported above would read the environment before it is set below.
    from huggingface_hub import constants  # noqa: PLC0415

    with LocalHub().running() as hub:
        cache = tmp_path / "hf"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for name, place in (("HF_HUB_CACHE", "hub"), ("HF_TOKEN_PATH", "token"), ("HF_STORED_TOKENS_PATH", "tokens")):
            monkeypatch.setattr(constants, name, str(cache / place))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
        for name, value in {**environment, "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
            monkeypatch.setenv(name, value)
        yield hub


@pytest.fixture(scope="session")
def embedded() -> ModelConfig:
    """Return the configuration of the embedded model."""
    return ModelConfig(name=demo.NAME, model=str(demo.FOLDER))


@pytest.fixture(scope="session")
async def engine(embedded: ModelConfig) -> AsyncIterator[LocalEngine]:
    """Return an engine that all tests share."""
    engine = LocalEngine(WorkerOptions(threads=1), queue_size=4)
    await engine.start([embedded])
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def calls(embedded: ModelConfig) -> Calls:
    """Return a maker of calls of the embedded model."""
    return Calls(embedded)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a server over an empty models folder: it serves the embedded model."""
    folder = tmp_path_factory.mktemp("models")
    with running_server(folder) as url:
        yield url
