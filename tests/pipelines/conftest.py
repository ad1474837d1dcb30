"""A server over a folder into which tiny pipelines are saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving import running_server


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
