"""A model that LocalAI's core wants, and what only its pipeline can tell of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.config.problems import did_you_mean, shown
from octabox.errors import ConfigError, InvalidParameterError


@dataclass(frozen=True)
class Wanted:
    """The model that LocalAI's core wants.

    Args:
        config: Its configuration.
        identity: What the core calls it.
        options: Names of the call parameters that were given as options.
        quantization: How its denoiser is to be quantized, once it is known which component that is.
        folder: The core's folder of models; None where it named none.
        warnings: What is not honoured.
    """

    config: ModelConfig
    identity: str
    options: tuple[str, ...] = ()
    quantization: Mapping[str, Any] | None = None
    folder: Path | None = None
    warnings: tuple[str, ...] = ()


def fitted(wanted: Wanted, entry: PipelineEntry) -> Wanted:
    """Return the model with what only its pipeline can tell: which component an option or a quantization is about.

    Raises:
        InvalidParameterError: An option is neither a call parameter nor a component of the pipeline, nor a file.
        ConfigError: It is not known which component is to be quantized.
    """
    config, warnings = wanted.config, list(wanted.warnings)
    known, parts = {each.name for each in entry.parameters}, {each.name for each in entry.components}
    defaults, components = dict(config.defaults), dict(config.components)
    for name in [each for each in wanted.options if each not in known]:
        value = defaults.pop(name)
        file = (wanted.folder or Path()) / value if isinstance(value, str) and value else None
        if name in parts and isinstance(value, str):
            source = str(file.absolute()) if file and file.exists() else value
            components[name] = components.get(name, ComponentConfig()).model_copy(update={"model": source})
        elif file and file.exists():
            # LocalAI's core names every file that it has fetched beside a model this way, used or not.
            warnings.append(f"The file of option '{name}' is not used: {entry.name} has no such component.")
        else:
            hint = did_you_mean(name, {*known, *parts}).capitalize() or f"It takes {', '.join(sorted(known))}."
            raise InvalidParameterError(f"{entry.name} has no parameter '{name}'.", hint=hint, parameter=name)
    if wanted.quantization:
        denoiser = next((name for name in _table()["denoisers"] if name in parts), None)
        if denoiser is None:
            hint = 'Name it: quantization: \'{"COMPONENT": {"quant_backend": ...}}\'.'
            raise ConfigError(f"It cannot be told which component of {entry.name} is to be quantized.", hint=hint)
        update = {"quantization": dict(wanted.quantization)}
        components[denoiser] = components.get(denoiser, ComponentConfig()).model_copy(update=update)
    config = config.model_copy(update={"defaults": defaults, "components": components})
    return Wanted(config, wanted.identity, (), None, wanted.folder, tuple(warnings))


@cache
def _table() -> dict[str, Any]:
    """Return the table of words for quantization."""
    found: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("quantization.yaml").read_text(encoding="utf-8"))
    return found


def quantization(text: str) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Return the quantization of components by name, and that of the denoiser."""
    words = _table()["words"]
    if not text.strip():
        return {}, None
    if text.lstrip().startswith("{"):
        return json_object(text, "Quantization"), None
    word = text.strip().lower().replace("-", "_")
    if word not in words:
        hint = did_you_mean(word, words).capitalize() or f"There are {', '.join(words)}."
        raise ConfigError(f"Quantization: there is no '{text}'.", hint=hint, parameter="Quantization", choices=words)
    return {}, words[word]


def json_object(text: str, field: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{field} must be a JSON object, not {shown(text[:60])}.", parameter=field)
    return found
