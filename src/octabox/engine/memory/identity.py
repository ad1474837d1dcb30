"""Which configurations can share the weights in one process: those that differ only in what each call contains."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from octabox.config.model import ModelConfig

#: Fields of a configuration that are part of each call, or only for clients and the server.
CALL_FIELDS: Mapping[str, Any] = {
    "aliases": (),
    "defaults": {},
    "seed": None,
    "adapters": (),
    "prompt_syntax": None,
    "description": "",
    "response_format": None,
    "keep_alive": None,
    "pin": False,
    "replicas": "auto",
    "path": None,
}


def loading_config(config: ModelConfig) -> ModelConfig:
    """Return a configuration with only those fields that its weights are loaded by, under the same name for all."""
    return config.model_copy(update={**CALL_FIELDS, "name": "-", "preset": None})


def loading_key(config: ModelConfig, pipeline: str, *others: str) -> str:
    """Return a short text that is equal for configurations whose loaded models are equal.

    Args:
        config: The configuration.
        pipeline: Class that it is loaded as.
        others: What else the models depend on.
    """
    text = "\n".join([loading_config(config).model_dump_json(), pipeline, *others])
    return hashlib.sha256(text.encode()).hexdigest()[:24]
