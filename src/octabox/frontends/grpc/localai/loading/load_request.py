"""Request to load a model, and the parts of it that depend on the pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.signature import check_value
from octabox.config.localai.rules import parse_json
from octabox.config.model import ComponentConfig, Components, ModelConfig
from octabox.config.problems import did_you_mean, format_value
from octabox.errors import ConfigError, InvalidParameterError
from octabox.frontends.grpc.localai.loading.stages import check_keys


@dataclass(frozen=True)
class LoadRequest:
    """Request of LocalAI's core to load a model.

    Args:
        config: Configuration of the model.
        identity: The core's name of the model.
        options: Names of the defaults that were given as options.
        quantization: Quantization of the denoiser, whose component depends on the pipeline.
        folder: The core's folder of models, if it is known.
        warnings: Warnings about options without effect.
    """

    config: ModelConfig
    identity: str
    options: tuple[str, ...] = ()
    quantization: Mapping[str, Any] | None = None
    folder: Path | None = None
    warnings: tuple[str, ...] = ()

    def with_defaults_of_fields(self, parameters: Collection[str]) -> LoadRequest:
        """Return the request with those defaults of fields and variables that the pipelines have; options are kept.

        Args:
            parameters: Call parameters of all pipelines that run on the weights.
        """
        defaults = {
            name: each for name, each in self.config.defaults.items() if name in self.options or name in parameters
        }
        return replace(self, config=self.config.model_copy(update={"defaults": defaults}))


def resolve_components(request: LoadRequest, pipeline: PipelineEntry, parameters: Collection[str]) -> LoadRequest:
    """Return the request with its options and its quantization assigned to components of the pipeline.

    Args:
        request: The request.
        pipeline: Pipeline of the model.
        parameters: Call parameters of all pipelines that run on its weights.

    Raises:
        InvalidParameterError: An option is neither a call parameter, a component nor a file, or a call parameter has a value
            of the wrong type.
        ConfigError: The pipeline has no known denoiser to quantize, or the components are those of a stage.
    """
    if request.config.stages:
        # A cascade is checked as a whole; which parameters its first stage has is known only now.
        request = request.with_defaults_of_fields(parameters)
    names, warnings = {each.name for each in pipeline.components}, list(request.warnings)
    defaults, components = dict(request.config.defaults), dict(request.config.components)
    for name in [each for each in request.options if each not in parameters]:
        value = defaults.pop(name)
        file = os.path.abspath((request.folder or Path()) / str(value))  # noqa: PTH100 (pathlib raises on odd paths)
        exists = isinstance(value, str) and bool(value) and os.path.exists(file)  # noqa: PTH110 (likewise)
        if name in names and isinstance(value, str):
            components[name] = _update_component(components, name, {"model": file if exists else value})
        elif exists:
            # LocalAI's core sends every file that it has downloaded with a model as an option.
            warnings.append(f"The file of option '{name}' is not used: {pipeline.name} has no such component.")
        else:
            hint = (
                did_you_mean(name, {*parameters, *names}).capitalize() or f"There are {', '.join(sorted(parameters))}."
            )
            raise InvalidParameterError(f"{pipeline.name} has no parameter '{name}'.", hint=hint, parameter=name)
    if request.quantization:
        for denoiser in _denoisers(pipeline):
            components[denoiser] = _update_component(components, denoiser, {"quantization": dict(request.quantization)})
    for each in pipeline.parameters:
        if each.name in defaults:
            check_value(each, defaults[each.name])
    config = request.config.model_copy(update={"defaults": defaults, "components": components})
    check_keys(config)
    return LoadRequest(config, request.identity, (), None, request.folder, tuple(warnings))


def _denoisers(pipeline: PipelineEntry) -> list[str]:
    """Return the denoiser of a pipeline, and its other components of the same class and word: `transformer_2`.

    Those that the model does not have are not loaded, so that their quantization has no effect.

    Raises:
        ConfigError: The pipeline has no known denoiser.
    """
    classes = {each.name: each.annotation.partition("|")[0].strip() for each in pipeline.components}
    first = next((name for name in table()["denoisers"] if name in classes), None)
    if first is None:
        hint = 'Name it in JSON: {"COMPONENT": {"quant_backend": ...}}.'
        raise ConfigError(f"The denoiser of {pipeline.name} is not known.", hint=hint, parameter="Quantization")
    word = re.compile(rf"(^|_){first}(_|$)")
    return [name for name, each in classes.items() if word.search(name) and each == classes[first]]


def _update_component(components: Mapping[str, Components], name: str, update: Mapping[str, Any]) -> ComponentConfig:
    """Return a component with some fields changed."""
    old = components.get(name)
    return (old if isinstance(old, ComponentConfig) else ComponentConfig()).model_copy(update=dict(update))


@cache
def table() -> dict[str, Any]:
    """Return the table of LocalAI's option values."""
    text = Path(__file__).with_name("options.yaml").read_text(encoding="utf-8")
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def parse_quantization(text: str) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """Return the quantization of components by name, and that of the denoiser."""
    names = table()["quantization"]
    if not text.strip():
        return {}, None
    if text.lstrip().startswith("{"):
        return parse_json_object(text, "Quantization"), None
    name = text.strip().lower().replace("-", "_")
    if name not in names:
        hint = did_you_mean(name, names).capitalize() or f"There are {', '.join(names)}."
        raise ConfigError(f"Quantization: there is no '{text}'.", hint=hint, parameter="Quantization", choices=names)
    return {}, names[name]


def parse_json_object(text: str, field: str) -> dict[str, Any]:
    """Return the JSON object in a field."""
    try:
        parsed = parse_json(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ConfigError(f"{field} must be a JSON object, not {format_value(text[:60])}.", parameter=field)
    return parsed
