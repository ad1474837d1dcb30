"""What a call says to components that steer it, such as ControlNets: which image each is shown, how strongly, and when.

Of a component that a constructor takes several of, each has its own image, and its own number wherever the call takes a
number or a list of them.
"""

from __future__ import annotations

from octabox.catalog.entries import Component, Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape, parse_annotation
from octabox.catalog.tasks import CONTROL_COMPONENTS


def control_component(entry: PipelineEntry) -> Component | None:
    """Return the component that steers a call, alone or with others of its kind; None where there is none."""
    return next((part for part in entry.components if CONTROL_COMPONENTS.search(part.name)), None)


def control_image(entry: PipelineEntry) -> Parameter | None:
    """Return the parameter for the image that a steering component is shown."""
    if control_component(entry) is None:
        return None
    images = [each for each in entry.media() if each.kind == "image"]
    named = [each for each in images if "control" in each.name]
    return next(iter(named or [each for each in images if each.required]), None)


def strengths(entry: PipelineEntry) -> tuple[Parameter, ...]:
    """Return the parameters that take a number for all steering components, or a list with one for each."""
    if control_component(entry) is None:
        return ()
    return tuple(each for each in entry.parameters if _is_one_for_each(parse_annotation(each.annotation)))


def has_modes(entry: PipelineEntry) -> bool:
    """Return whether one component can be shown several images, since the call tells by numbers what each of them is."""
    shapes = [parse_annotation(each.annotation) for each in entry.parameters]
    return any("integer" in shape.atoms and shape.items is not None for shape in shapes)


def _is_one_for_each(shape: Shape) -> bool:
    return "number" in shape.atoms and shape.items is not None and "number" in shape.items.atoms
