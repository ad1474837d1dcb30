"""What a request takes from the metadata of a file, by its pipeline."""

from __future__ import annotations

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.service.metadata import skipped_layers


@pytest.mark.parametrize(
    ("pipeline", "layer", "expected"),
    [
        ("StableDiffusionPipeline", 1, {}),
        ("StableDiffusionPipeline", 2, {"clip_skip": 1}),
        ("StableDiffusionImg2ImgPipeline", 2, {"clip_skip": 1}),
        ("StableDiffusionXLPipeline", 2, {}),
        ("StableDiffusionXLPipeline", 1, {}),
        ("StableDiffusionXLInpaintPipeline", 3, {"clip_skip": 1}),
        ("StableDiffusion3Pipeline", 2, {}),
        ("FluxPipeline", 2, {}),
    ],
)
def test_the_layers_that_the_web_ui_skips(pipeline: str, layer: int, expected: dict[str, int]) -> None:
    """It counts the layer that is used, which some pipelines skip layers for without a request."""
    entry = load_catalog().pipeline(pipeline)

    assert expected == skipped_layers({"clip_layer": layer}, entry)
    assert {} == skipped_layers({"clip_layer": layer, "pipeline": pipeline, "params": {"clip_skip": 1}}, entry)
