"""Convert the arguments of control components, such as ControlNets, to the form that the pipeline takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL.Image import Image

from octabox.catalog.conditions.control import ControlInputs, control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.engine.worker.component_types import unpack_components


def control_arguments(pipe: Any, entry: PipelineEntry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that need another form.

    Some pipelines reject an int as a scale, or a single scale for several components; and components with one input channel
    take only greyscale images.

    Args:
        pipe: The pipeline.
        entry: Its catalog entry.
        arguments: The arguments of the call.
    """
    control = control_inputs(entry)
    component = getattr(pipe, control.component.name, None) if control.component is not None else None
    if not isinstance(component, torch.nn.Module):
        return {}
    members = unpack_components(component)
    image = control.image
    value = arguments.get(image.name) if image is not None else None
    changed: dict[str, Any] = {}
    if members == [component]:
        count = 0
        if image is not None and value is not None:
            changed[image.name] = _convert_channels(value, component)
    else:
        images = value if isinstance(value, list) else [value]
        # A union ControlNet, trained for several types of images, takes several.
        targets = members * len(images) if len(members) == 1 else members
        count = len(targets)
        if image is not None and value is not None and len(images) == count:
            changed[image.name] = [_convert_channels(*each) for each in zip(images, targets, strict=True)]
    return changed | _scales(control, arguments, count)


def _scales(control: ControlInputs, arguments: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the scales and guidance ranges of a call as lists of a length, or as single floats if the count is 0."""
    changed: dict[str, Any] = {}
    for each in control.scales:
        value = arguments.get(each.name, each.default)
        if isinstance(value, list):
            changed[each.name] = [float(number) for number in value]
        elif isinstance(value, int | float):
            changed[each.name] = [float(value)] * count if count else float(value)
    return changed


def _convert_channels(image: Any, component: torch.nn.Module) -> Any:
    """Convert an image, or a list of them, to greyscale if a component has one input channel."""
    if isinstance(image, list):
        return [_convert_channels(each, component) for each in image]
    channels = getattr(getattr(component, "config", None), "in_channels", None)
    is_grey = channels == 1 and not hasattr(component.config, "conditioning_channels")
    return image.convert("L") if is_grey and isinstance(image, Image) else image
