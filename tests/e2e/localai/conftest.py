"""A backend that the tests of LocalAI's contract share, and tiny models for it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localai_backend import Client, running_backend
from makers import pipelines
from makers.samples import is_marker
from octabox.catalog.pipelines import load_catalog

#: LocalAI's variables of the shared backend: videos are short.
VARIABLES = {"FRAMES": "5", "FPS": "4"}


@dataclass(frozen=True)
class Model:
    """A tiny model on disk.

    Args:
        folder: Its folder.
        options: Options that keep a call small, as LocalAI's core would send them.
    """

    folder: Path
    options: tuple[str, ...]


@pytest.fixture(scope="session")
def backend() -> Iterator[Client]:
    """Return a client of a backend."""
    with running_backend(environment=VARIABLES) as client:
        yield client


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Return a maker of tiny models by class."""
    home = tmp_path_factory.mktemp("models")

    def make(name: str) -> Model:
        made, folder = pipelines()[name], home / name
        if not folder.exists():
            with warnings.catch_warnings():
                # What diffusers says to whoever makes and saves pipelines is no concern of a backend.
                warnings.simplefilter("ignore")
                made.make().save_pretrained(str(folder))
        known = {each.name for each in load_catalog().pipeline(name).parameters} - {"prompt"}
        options = {key: value for key, value in made.params.items() if key in known and not is_marker(value)}
        return Model(folder, tuple(f"{key}:{json.dumps(value)}" for key, value in options.items()))

    return make
