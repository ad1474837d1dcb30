"""Presets: what a configuration says of a kind of model, where its author says nothing. Each is a file in ``presets/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Preset:
    """Part of a model's configuration, for models of a kind.

    Args:
        name: What configurations call it.
        description: What it does.
        pipelines: Classes of diffusers that it holds for without being named.
        aliases: Values of LocalAI's `pipeline_type` that mean it.
        settings: The part of a configuration, in its own keys.
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
    """Return the preset that a value of LocalAI's `pipeline_type` means; None where it is no such name."""
    return next((preset for preset in presets().values() if alias in preset.aliases), None)


def settings_for(pipeline: str) -> Mapping[str, Any]:
    """Return what holds for models of a class without being asked for."""
    settings: dict[str, Any] = {}
    for preset in presets().values():
        if pipeline in preset.pipelines:
            settings = deep_merge(settings, preset.settings)
    return settings


def deep_merge(own: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with a preset's values where it has none of its own, mapping by mapping."""
    both = dict(preset)
    for key, value in own.items():
        under = preset.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            both[key] = deep_merge(value, under)
        elif value is not None or key not in preset:
            both[key] = value
    return both
