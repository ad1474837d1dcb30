"""How long models stay in memory: by configurations, names and requests."""

from __future__ import annotations

from typing import Any

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.retention import Retention


def config(name: str, **fields: Any) -> ModelConfig:
    """Return a configuration."""
    return ModelConfig.model_validate({"name": name, "model": "x", **fields})


def test_a_configuration_comes_before_the_setting() -> None:
    """Without either a model stays."""
    assert Retention().expires(100) is None
    retention = Retention(60)
    assert 160 == retention.expires(100)
    retention.configure(config("a", keep_alive="5m"))
    assert 400 == retention.expires(100)
    retention.configure(config("a", keep_alive=0))
    assert 100 == retention.expires(100)


def test_of_several_names_the_longest_time_counts() -> None:
    """One that is pinned, or has no end, keeps the weights of all."""
    retention = Retention(60)
    retention.configure(config("a", keep_alive=10))
    retention.configure(config("b"))
    assert ("a", "b") == retention.names
    assert 60 == retention.keep_alive
    retention.configure(config("c", keep_alive="never"))
    assert NEVER == retention.keep_alive

    retention.forget("c")
    retention.configure(config("b", pin=True))
    assert retention.pinned
    assert retention.expires(100) is None


def test_a_request_counts_until_the_model_is_unloaded() -> None:
    """What it leaves out is not changed."""
    retention = Retention(60)
    retention.configure(config("a", pin=True))
    retention.request("a", 5, None)
    assert (5, True) == (retention.keep_alive, retention.pinned)
    retention.request("a", None, pin=False)
    assert 105 == retention.expires(100)

    retention.reset()
    assert (60, True) == (retention.keep_alive, retention.pinned)
