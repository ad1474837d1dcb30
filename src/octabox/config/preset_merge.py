"""Presets: configuration values for a kind of model, used where its configuration has none. Each is a file in ``presets/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Preset:
    """Configuration values for a kind of model.

    Args:
        name: Name that configurations select it by.
        description: What it does.
        pipelines: Classes of diffusers that it applies to by default.
        aliases: Values of LocalAI's `pipeline_type` that select it.
        settings: The values, by key of a model's configuration.
    """

    name: str
    description: str
    settings: Mapping[str, Any]
    pipelines: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@cache
def presets() -> dict[str, Preset]:
    """Return all presets by name."""
    found = {}
    for file in sorted(files(__package__).joinpath("presets").iterdir(), key=lambda file: file.name):
        name, data = file.name.removesuffix(".yaml"), yaml.safe_load(file.read_text(encoding="utf-8"))
        lists = {key: tuple(data.get(key, ())) for key in ("pipelines", "aliases")}
        found[name] = Preset(name, data["description"], data["settings"], **lists)
    return found


def preset_of_alias(alias: str) -> Preset | None:
    """Return the preset that a value of LocalAI's `pipeline_type` selects; None if it selects none."""
    return next((preset for preset in presets().values() if alias in preset.aliases), None)


def settings_for(pipeline: str) -> Mapping[str, Any]:
    """Return the preset values that apply to all models of a class."""
    settings: dict[str, Any] = {}
    for preset in presets().values():
        if pipeline in preset.pipelines:
            settings = deep_merge(settings, preset.settings)
    return settings


def deep_merge(config: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with a preset's values for keys that are missing or null, nested mappings included."""
    merged = dict(preset)
    for key, value in config.items():
        default = preset.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            merged[key] = deep_merge(value, default)
        elif value is not None or key not in preset:
            merged[key] = value
    return merged
