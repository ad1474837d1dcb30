"""What all tests share: one engine, whose fork server is warm, and calls of the embedded model."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from embedded import Calls
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.local import LocalEngine
from octabox.engine.messages import WorkerOptions
from serving import running_server

os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models gain nothing by a second thread, which would only wait for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
