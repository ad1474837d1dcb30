"""One server for all that differ in nothing but their models, and tiny models that take files, one for each kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import makers
from bringing import TAKES, ask, contents
from serving import running_server

#: Models of the shared server that are in memory at once.
RESIDENT = 8


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shared server's folder of models; each file of tests puts its own there, under names of its own."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def shared(registry: Path) -> Iterator[httpx.Client]:
    """Return a client of the shared server: it sees what is put on the shelf, and has no flags that matter to a test."""
    with (
        running_server(registry, "--max-resident", str(RESIDENT)) as url,
        httpx.Client(base_url=url, timeout=240, trust_env=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def takers(registry: Path, shared: httpx.Client) -> httpx.Client:
    """Return a client of a server of the models that take files."""
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern of a server.
        warnings.simplefilter("ignore")
        for name in TAKES:
            makers.pipelines()[name].make().save_pretrained(str(registry / name))
    return shared


@pytest.fixture(scope="session")
def before(takers: httpx.Client) -> dict[str, list[str]]:
    """Return what each model makes of its good request."""
    return {model: contents(ask(takers, model)) for model in TAKES}
