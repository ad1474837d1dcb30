"""A server of tiny models that take files, one for each kind."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import httpx
import pytest

import makers
from bringing import TAKES, ask, contents
from serving import running_server


@pytest.fixture(scope="session")
def takers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of a server of the models."""
    folder = tmp_path_factory.mktemp("takers")
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern of a server.
        warnings.simplefilter("ignore")
        for name in TAKES:
            makers.pipelines()[name].make().save_pretrained(str(folder / name))
    with running_server(folder) as url, httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def before(takers: httpx.Client) -> dict[str, list[str]]:
    """Return what each model makes of its good request."""
    return {model: contents(ask(takers, model)) for model in TAKES}
