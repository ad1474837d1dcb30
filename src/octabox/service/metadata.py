"""What a request takes from the generation metadata of a file that depends on the pipeline that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.catalog.entries import PipelineEntry


def skipped_layers(metadata: Mapping[str, Any], pipeline: PipelineEntry) -> dict[str, int]:
    """Return the parameter for the layer of the text encoders in another program's metadata; none if it is the default.

    Args:
        metadata: Metadata of the file, which counts the layers from the end.
        pipeline: The pipeline of the request; some use the layer before the last by default.
    """
    layer = metadata.get("clip_layer")
    if "pipeline" in metadata or not isinstance(layer, int) or not pipeline.last_layer or layer <= pipeline.last_layer:
        return {}
    return {"clip_skip": layer - pipeline.last_layer} if pipeline.parameter("clip_skip") else {}
