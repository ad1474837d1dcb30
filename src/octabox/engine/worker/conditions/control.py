"""Bring what a call says to its steering components, such as ControlNets, into the form that diffusers takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL.Image import Image

from octabox.catalog.conditions.control import control_component, control_image, strengths
from octabox.catalog.entries import PipelineEntry
from octabox.engine.worker.component_types import unpack_components


def steering_arguments(pipe: Any, entry: PipelineEntry, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that differ from how they are given.

    Some pipelines take a whole number for no number, and one number for none where there are several components; and
    components that look at one channel take only images that have one.

    Args:
        pipe: The pipeline.
        entry: What is known of it.
        given: The arguments so far.
    """
    part = control_component(entry)
    component = getattr(pipe, part.name, None) if part is not None else None
    if not isinstance(component, torch.nn.Module):
        return {}
    members = unpack_components(component)
    image = control_image(entry)
    shown = given.get(image.name) if image is not None else None
    changed: dict[str, Any] = {}
    if members == [component]:
        count = 0
        if image is not None and shown is not None:
            changed[image.name] = _shown(shown, component)
    else:
        images = shown if isinstance(shown, list) else [shown]
        # One that was trained for several kinds of images may be shown several.
        looking = members * len(images) if len(members) == 1 else members
        count = len(looking)
        if image is not None and shown is not None and len(images) == count:
            changed[image.name] = [_shown(*each) for each in zip(images, looking, strict=True)]
    return changed | _numbers(entry, given, count)


def _numbers(entry: PipelineEntry, given: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the strengths and the spans of a call: as lists of so many, or, where the count is 0, as single numbers."""
    changed: dict[str, Any] = {}
    for each in strengths(entry):
        value = given.get(each.name, each.default)
        if isinstance(value, list):
            changed[each.name] = [float(number) for number in value]
        elif isinstance(value, int | float):
            changed[each.name] = [float(value)] * count if count else float(value)
    return changed


def _shown(image: Any, component: torch.nn.Module) -> Any:
    """Return an image, or a list of them, in grey where a component looks at one channel."""
    if isinstance(image, list):
        return [_shown(each, component) for each in image]
    channels = getattr(getattr(component, "config", None), "in_channels", None)
    is_grey = channels == 1 and not hasattr(component.config, "conditioning_channels")
    return image.convert("L") if is_grey and isinstance(image, Image) else image
