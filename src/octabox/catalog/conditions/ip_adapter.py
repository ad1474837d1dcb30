"""Images as prompts, by IP-Adapters: which calls take them, and what a request may say of them.

How strongly they work is no parameter of a call in diffusers, but is set on the pipeline before. Here it is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from octabox.catalog.entries import Parameter, PipelineEntry

#: The parameter for the images, one for each IP-Adapter.
IMAGE_PARAMETER = "ip_adapter_image"

#: What the names of all parameters have that are for IP-Adapters.
WORD = "ip_adapter"

#: The parameter of our own.
SCALE_PARAMETER = "ip_adapter_scale"


def takes_ip_adapter(entry: PipelineEntry) -> bool:
    """Return whether a call takes images as prompts."""
    return entry.parameter(IMAGE_PARAMETER) is not None


def ip_adapter_inputs(names: Iterable[str]) -> list[str]:
    """Return those of the parameters that are for IP-Adapters, besides their strength."""
    return [name for name in names if WORD in name and name != SCALE_PARAMETER]


def add_scale_parameter(entry: PipelineEntry, scales: tuple[float, ...]) -> PipelineEntry:
    """Return a pipeline with the parameter for the strength of its IP-Adapters.

    Args:
        entry: The pipeline.
        scales: The strength of each as it is where a request says nothing; none where there is no IP-Adapter.
    """
    if not scales or not takes_ip_adapter(entry):
        return entry
    parameter = Parameter(
        SCALE_PARAMETER,
        "float | list[float]",
        "number",
        default=scales[0] if len(set(scales)) == 1 else list(scales),
        many=True,
        description="How strongly the images of `ip_adapter_image` work, 0 is not at all; several have a list.",
    )
    return replace(entry, parameters=(*entry.parameters, parameter))
