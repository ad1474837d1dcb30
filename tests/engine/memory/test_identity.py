"""Which configurations can share a process."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.config.model import ModelConfig
from octabox.engine.memory.identity import CALL_FIELDS, loading_key


def key(**fields: Any) -> str:
    """Return the key of a configuration."""
    return loading_key(ModelConfig.model_validate({"name": "x", "model": "a", **fields}), "P", "cuda")


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"name": "y", "defaults": {"steps": 3}, "description": "D", "seed": 1, "aliases": ["z"]}, True),
        ({"adapters": [{"lora": "l"}], "prompt_syntax": "compel", "keep_alive": -1, "pin": True}, True),
        ({"dtype": "float32"}, False),
        ({"model": "b"}, False),
        ({"scheduler": "euler"}, False),
        ({"ip_adapters": [{"model": "i"}]}, False),
    ],
)
def test_what_a_call_contains_does_not_divide_models(fields: dict[str, Any], *, same: bool) -> None:
    """All that a model is loaded by does."""
    assert same is (key() == key(**fields))


def test_all_fields_of_calls_exist() -> None:
    """A field that is renamed would divide models without a word."""
    assert set() == set(CALL_FIELDS) - set(ModelConfig.model_fields)
