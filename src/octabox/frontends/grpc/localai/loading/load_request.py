"""A model that LocalAI's core wants, and what only its pipeline can tell of it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.signature import check
from octabox.config.model import ComponentConfig, Components, ModelConfig
from octabox.config.problems import did_you_mean, shown
from octabox.errors import ConfigError, InvalidParameterError


@dataclass(frozen=True)
class LoadRequest:
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


def fitted(wanted: LoadRequest, own: PipelineEntry, known: Collection[str]) -> LoadRequest:
    """Return the model with what only its pipeline can tell: which component an option or a quantization is about.

    Args:
        wanted: The model.
        own: Its pipeline.
        known: Call parameters of that and of all others that run on its weights.

    Raises:
        InvalidParameterError: An option is neither a call parameter nor a component of the pipeline, nor a file, or a call
            parameter has a value of the wrong type.
        ConfigError: It is not known which component is to be quantized.
    """
    parts, warnings = {each.name for each in own.components}, list(wanted.warnings)
    defaults, components = dict(wanted.config.defaults), dict(wanted.config.components)
    for name in [each for each in wanted.options if each not in known]:
        value = defaults.pop(name)
        file = os.path.abspath((wanted.folder or Path()) / str(value))  # noqa: PTH100 (pathlib raises on odd paths)
        there = isinstance(value, str) and bool(value) and os.path.exists(file)  # noqa: PTH110 (likewise)
        if name in parts and isinstance(value, str):
            components[name] = _component(components, name, {"model": file if there else value})
        elif there:
            # LocalAI's core names every file that it has fetched beside a model this way, used or not.
            warnings.append(f"The file of option '{name}' is not used: {own.name} has no such component.")
        else:
            hint = did_you_mean(name, {*known, *parts}).capitalize() or f"There are {', '.join(sorted(known))}."
            raise InvalidParameterError(f"{own.name} has no parameter '{name}'.", hint=hint, parameter=name)
    if wanted.quantization:
        denoiser = next((name for name in table()["denoisers"] if name in parts), None)
        if denoiser is None:
            hint = 'Name it in JSON: {"COMPONENT": {"quant_backend": ...}}.'
            message = f"It cannot be told which component of {own.name} is to be quantized."
            raise ConfigError(message, hint=hint, parameter="Quantization")
        components[denoiser] = _component(components, denoiser, {"quantization": dict(wanted.quantization)})
    for each in own.parameters:
        if each.name in defaults:
            check(each, defaults[each.name])
    config = wanted.config.model_copy(update={"defaults": defaults, "components": components})
    return LoadRequest(config, wanted.identity, (), None, wanted.folder, tuple(warnings))


def _component(components: Mapping[str, Components], name: str, update: Mapping[str, Any]) -> ComponentConfig:
    """Return a component with some fields changed."""
    old = components.get(name)
    return (old if isinstance(old, ComponentConfig) else ComponentConfig()).model_copy(update=dict(update))


@cache
def table() -> dict[str, Any]:
    """Return what is known of the words of LocalAI's options."""
    text = Path(__file__).with_name("options.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def quantization(text: str) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Return the quantization of components by name, and that of the denoiser."""
    words = table()["quantization"]
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
