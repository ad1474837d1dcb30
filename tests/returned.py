"""Outputs of pipelines, and what a reader makes of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from PIL import Image

from octabox.catalog.entries import Field, Parameter, PipelineEntry
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.outputs.parser import OutputParser
from octabox.media.video import Video
from octabox.types import Kind, OutputFormat

#: A pipeline that speaks at a rate of its own.
PIPE = SimpleNamespace(components={"vocoder": SimpleNamespace(config={"sampling_rate": 8_000})})

GREY = Image.new("RGB", (8, 6), "grey")
BLACK = Image.new("RGB", (8, 6))


def entry(chief: Kind, *fields: Field, **defaults: Any) -> PipelineEntry:
    """Return what the catalog would know of a pipeline that makes this."""
    parameters = tuple(Parameter(name, default=value) for name, value in defaults.items())
    return PipelineEntry("OnePipeline", "one", "one", outputs=fields, output_kind=chief, parameters=parameters)


def read(known: PipelineEntry, output: Any, wanted: str | None = None) -> tuple[list[OutputItem], list[str]]:
    """Return what a reader makes of an output, and its warnings."""
    reader = OutputParser(PIPE, known, {}, OutputFormat(wanted))
    return reader.read(output), reader.warnings


def kinds(products: list[OutputItem]) -> list[tuple[str, str]]:
    """Return names and kinds."""
    return [(product.name, product.kind) for product in products]


def as_video(product: OutputItem) -> Video:
    """Return the video of a product."""
    assert isinstance(product.value, Video)
    return product.value


IMAGES = entry("image", Field("images", kind="image"), Field("nsfw_content_detected"))
FRAMES = entry("video", Field("frames", kind="video"))
AUDIO = entry("audio", Field("audios", kind="audio"))
