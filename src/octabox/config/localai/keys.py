"""LocalAI's configuration keys and their translation, from ``keys.yaml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def table() -> dict[str, Any]:
    """Return the table of LocalAI's keys."""
    text = Path(__file__).with_name("keys.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def top_keys() -> frozenset[str]:
    """Return LocalAI's keys of the top level."""
    return frozenset(key.partition(".")[0] for key in (*table()["keys"], *table()["other_kinds_of_model"]))


def octabox_key(key: str) -> str | None:
    """Return the key of Octabox's format for a key of LocalAI's, with its section or without."""
    keys = table()["keys"]
    return next((keys[name].get("to") for name in keys if key in {name, name.rpartition(".")[2]}), None)
