"""The engine of a cluster where its package is missing."""

from __future__ import annotations

import sys

import pytest

from octabox.config.settings import Settings
from octabox.engine.cluster_engine import build_cluster_engine
from octabox.engine.messages import WorkerOptions
from octabox.errors import ConfigError, MissingDependencyError


def build(settings: Settings) -> None:
    """Build the engine of settings."""
    build_cluster_engine(settings, WorkerOptions(), lambda _name, _reason: None, lambda _name: None)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(MissingDependencyError, match="needs the package ray") as caught:
        build(Settings(engine="ray"))
    assert "pip install 'octabox[ray]'" in str(caught.value.hint)


def test_a_cluster_that_does_not_answer_is_an_error_of_the_settings() -> None:
    """The server does not start, and the error has the address."""
    with pytest.raises(ConfigError, match=r"No Ray cluster answers at 127\.0\.0\.1:1"):
        build(Settings(engine="ray", ray_address="127.0.0.1:1"))
