"""IP-Adapter inputs of pipeline calls.

In diffusers the scale of an IP-Adapter is set on the pipeline. Here it is a parameter of the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from octabox.catalog.entries import Parameter, PipelineEntry

#: Parameter for the images, one for each IP-Adapter.
IMAGE_PARAMETER = "ip_adapter_image"

#: Part of the names of all IP-Adapter parameters.
NAME_PART = "ip_adapter"

#: Parameter for the scale, which Octabox adds.
SCALE_PARAMETER = "ip_adapter_scale"


def takes_ip_adapter(entry: PipelineEntry) -> bool:
    """Return whether a call accepts IP-Adapter images."""
    return entry.parameter(IMAGE_PARAMETER) is not None


def ip_adapter_inputs(names: Iterable[str]) -> list[str]:
    """Return the IP-Adapter parameters among names, without the scale."""
    return [name for name in names if NAME_PART in name and name != SCALE_PARAMETER]


def add_scale_parameter(entry: PipelineEntry, scales: tuple[float, ...]) -> PipelineEntry:
    """Return a pipeline entry with the parameter for the scale of its IP-Adapters.

    Args:
        entry: The pipeline.
        scales: Default scale of each IP-Adapter; empty if there are none.
    """
    if not scales or not takes_ip_adapter(entry):
        return entry
    parameter = Parameter(
        SCALE_PARAMETER,
        "float | list[float]",
        "number",
        default=scales[0] if len(set(scales)) == 1 else list(scales),
        many=True,
        description="Scale of the IP-Adapter; 0 disables it. A list has one scale for each IP-Adapter.",
    )
    return replace(entry, parameters=(*entry.parameters, parameter))
