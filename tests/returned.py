"""Outputs of pipelines, and their parsed items."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from PIL import Image

from octabox.catalog.entries import Field, Parameter, PipelineEntry
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.outputs.parser import OutputParser
from octabox.media.video import Video
from octabox.types import Kind, OutputFormat

#: A pipeline with a sampling rate.
PIPE = SimpleNamespace(components={"vocoder": SimpleNamespace(config={"sampling_rate": 8_000})})

GREY = Image.new("RGB", (8, 6), "grey")
BLACK = Image.new("RGB", (8, 6))


def entry(primary: Kind, *fields: Field, **defaults: Any) -> PipelineEntry:
    """Return a catalog entry for a pipeline with these outputs."""
    parameters = tuple(Parameter(name, default=value) for name, value in defaults.items())
    return PipelineEntry("OnePipeline", "one", "one", outputs=fields, output_kind=primary, parameters=parameters)


def read(known: PipelineEntry, output: Any, output_format: str | None = None) -> tuple[list[OutputItem], list[str]]:
    """Return the items of an output, and the warnings."""
    parser = OutputParser(PIPE, known, {}, OutputFormat(output_format))
    return parser.parse(output), parser.warnings


def kinds(outputs: list[OutputItem]) -> list[tuple[str, str]]:
    """Return names and kinds."""
    return [(item.name, item.kind) for item in outputs]


def as_video(item: OutputItem) -> Video:
    """Return the video of an item."""
    assert isinstance(item.value, Video)
    return item.value


IMAGES = entry("image", Field("images", kind="image"), Field("nsfw_content_detected"))
FRAMES = entry("video", Field("frames", kind="video"))
AUDIO = entry("audio", Field("audios", kind="audio"))
