"""Write what a call made as files, with what each was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from PIL.Image import Image

from octabox.engine.worker.outputs.items import Mesh, OutputItem
from octabox.media import arrays, audio, formats, images, meshes, video
from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.types import Artifact, OutputFormat

#: Formats of videos that carry no audio, and those that are single images.
SILENT, STILL = frozenset({"gif", "webp"}), frozenset({"png", "jpeg"})


def artifacts(
    product: OutputItem, seed: int | None, facts: Mapping[str, Any], output: OutputFormat
) -> Iterator[Artifact]:
    """Yield the files of a product: one, but for a video whose frames or audio, or arrays that, are wanted by themselves.

    Args:
        product: What to write.
        seed: The seed it was made with.
        facts: What it was made from.
        output: How it is to be written, where its kind can be.
    """
    value, wanted = product.value, replace(output, format=formats.chosen(product.kind, output))
    asked = {output.format} - {wanted.format}
    if isinstance(value, Video):
        if wanted.format in STILL:
            frames = (OutputItem(product.name, "image", frame) for frame in value.frames)
            yield from (artifact for frame in frames for artifact in artifacts(frame, seed, facts, output))
        else:
            about = {**facts, "fps": value.fps, "num_frames": len(value.frames), **_size(value.frames[0])}
            yield Artifact("video", *_turned(video.encode(value, wanted, about)), seed, about, product.name)
        # Its audio is a file of its own where the video's has no room for it, or where a format for audio was asked for.
        if value.audio is not None and (wanted.format in SILENT | STILL or formats.chosen("audio", output) in asked):
            yield from artifacts(OutputItem(f"{product.name}_sound", "audio", value.audio), seed, facts, output)
        return
    if isinstance(value, Mapping) and wanted.format == "npy" and len(value) > 1:
        # A file of this format holds one array.
        each = (OutputItem(name, "array", {name: array}) for name, array in value.items())
        yield from (artifact for one in each for artifact in artifacts(one, seed, facts, output))
        return
    about = {**facts, **_about(product)}
    content, media_type = _encode(product, wanted, output, about)
    yield Artifact(product.kind, media_type, content, seed, about, product.name)


def _encode(
    product: OutputItem, wanted: OutputFormat, asked: OutputFormat, about: Mapping[str, Any]
) -> tuple[bytes, str]:
    """Return a product as a file, and its media type."""
    value = product.value
    if isinstance(value, Image):
        return images.encode(value, wanted, about)
    if isinstance(value, Audio):
        return audio.encode(value, wanted, about)
    if isinstance(value, str):
        return value.encode(), "text/plain"
    if isinstance(value, Mesh):
        return meshes.encode(value.vertices, value.faces, value.colours, wanted)
    assert isinstance(value, Mapping)  # noqa: S101 (videos were written before; nothing else is left)
    single = product.apart and wanted.format != asked.format
    return arrays.encode(value, replace(wanted, format="npy") if single else wanted)


def _about(product: OutputItem) -> dict[str, Any]:
    """Return what is to be told of a product besides what it was made from."""
    value = product.value
    if isinstance(value, Image):
        return _size(value)
    if isinstance(value, Audio):
        return {"sampling_rate": value.rate, "seconds": round(value.samples.shape[-1] / value.rate, 3)}
    if isinstance(value, Mapping):
        return {"arrays": {name: {"shape": list(each.shape), "dtype": str(each.dtype)} for name, each in value.items()}}
    return {}


def _size(image: Image) -> dict[str, Any]:
    return {"size": {"width": image.width, "height": image.height}}


def _turned(encoded: tuple[bytes, str]) -> tuple[str, bytes]:
    """Return an encoder's answer in the order in which an artifact takes it."""
    return encoded[1], encoded[0]
