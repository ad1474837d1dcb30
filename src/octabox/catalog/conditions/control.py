"""Find the control inputs of a pipeline call, such as those of ControlNets: images, scales, spans and modes.

Where a constructor takes several components of one kind, each has its own image, and its own number wherever the call takes
a number or a list of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from octabox.catalog.entries import Component, Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape, parse_annotation
from octabox.catalog.tasks import CONTROL_COMPONENTS


@dataclass(frozen=True)
class ControlInputs:
    """The control inputs of a pipeline call.

    Args:
        component: The control component, which may be a list of several; None where the pipeline has none.
        image: Parameter for the control image.
        scales: Parameters that take one number for all control components, or a list with one number for each.
        modes: Whether one component takes several images, each with a number for its mode.
    """

    component: Component | None = None
    image: Parameter | None = None
    scales: tuple[Parameter, ...] = ()
    modes: bool = False


def control_inputs(entry: PipelineEntry) -> ControlInputs:
    """Return the control inputs of a pipeline call; empty where the pipeline has no control component."""
    component = next((part for part in entry.components if CONTROL_COMPONENTS.search(part.name)), None)
    if component is None:
        return ControlInputs()
    images = [each for each in entry.media() if each.kind == "image"]
    named = [each for each in images if "control" in each.name]
    shapes = [(each, parse_annotation(each.annotation)) for each in entry.parameters]
    return ControlInputs(
        component,
        next(iter(named or [each for each in images if each.required]), None),
        tuple(each for each, shape in shapes if _is_number_per_component(shape)),
        any("integer" in shape.atoms and shape.items is not None for _, shape in shapes),
    )


def has_control_channels(entry: PipelineEntry) -> bool:
    """Return whether a class passes its control image to the denoiser itself, in channels in addition to the latents."""
    return control_inputs(entry).component is None and any("control" in each.name for each in entry.media())


def control_channel_pipelines(entry: PipelineEntry, pipelines: Iterable[PipelineEntry]) -> list[str]:
    """Return the names of the classes of the same family and task that have control channels, the shortest first."""
    names = [
        other.name
        for other in pipelines
        if other.family == entry.family and set(other.tasks) & set(entry.tasks) and has_control_channels(other)
    ]
    return sorted(names, key=len)


def _is_number_per_component(shape: Shape) -> bool:
    return "number" in shape.atoms and shape.items is not None and "number" in shape.items.atoms
