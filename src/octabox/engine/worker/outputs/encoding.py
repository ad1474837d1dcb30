"""Encode the outputs of a call as files, with the metadata of their generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL.Image import Image

from octabox.engine.protocol import Call
from octabox.engine.worker.outputs.items import Mesh, OutputItem
from octabox.media import arrays, audio, formats, images, meshes, video
from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.types import AdapterReport, Artifact, Generation, OutputFormat

#: Formats of videos without audio, and formats of single images.
SILENT, STILL = frozenset({"gif", "webp"}), frozenset({"png", "jpeg"})

#: An output with its seed and its metadata.
SeededOutput = tuple[OutputItem, int | None, Mapping[str, Any]]


@dataclass(frozen=True)
class RawOutput:
    """The outputs of a call before they are encoded.

    Args:
        call: The call.
        outputs: Its outputs.
        warnings: Its warnings.
        timings: Seconds by phase.
        adapters: The LoRAs that were applied.
    """

    call: Call
    outputs: tuple[SeededOutput, ...]
    warnings: tuple[str, ...]
    timings: Mapping[str, float]
    adapters: tuple[AdapterReport, ...] = ()

    def encode(self) -> Generation:
        """Return the outputs as files, which contain their metadata if their format supports it."""
        call = self.call
        slowed = max(
            (rate for item, *_ in self.outputs if (rate := _rate(item, call.output)) > formats.GIF_FPS), default=0
        )
        warning = f"The frame rate is {formats.GIF_FPS:g}, the highest of gif, not {slowed:g}: the video is slower."
        files = [
            file for item, seed, metadata in self.outputs for file in encode_output(item, seed, metadata, call.output)
        ]
        return Generation(
            call.id,
            call.model.name,
            call.runs_as,
            call.task,
            tuple(files),
            (*self.warnings, warning) if slowed else self.warnings,
            self.timings,
            self.adapters,
        )


def encode_output(
    item: OutputItem, seed: int | None, metadata: Mapping[str, Any], output: OutputFormat
) -> Iterator[Artifact]:
    """Yield the files of an output: one, or several if the frames or the audio of a video, or arrays, are separate files.

    Args:
        item: The output.
        seed: Its seed.
        metadata: Its metadata.
        output: The requested format.
    """
    value, target = item.value, replace(output, format=formats.select_format(item.kind, output))
    unused = {output.format} - {target.format}
    if isinstance(value, Video):
        if target.format in STILL:
            for frame in value.frames:
                yield from encode_output(OutputItem(item.name, "image", frame), seed, metadata, output)
        else:
            if _rate(item, output) > formats.GIF_FPS:
                value = replace(value, fps=formats.GIF_FPS)
            details = {**metadata, "fps": value.fps, "num_frames": len(value.frames), **_size(value.frames[0])}
            content, media_type = video.encode(value, target, details)
            yield Artifact("video", media_type, content, seed, details, item.name)
        # Audio is a separate file if the video's format has none, or if a format for audio was requested.
        if value.audio is not None and (
            target.format in SILENT | STILL or formats.select_format("audio", output) in unused
        ):
            yield from encode_output(OutputItem(f"{item.name}_sound", "audio", value.audio), seed, metadata, output)
        return
    if isinstance(value, Mapping) and target.format == "npy" and len(value) > 1:
        # A file of this format holds one array.
        for name, array in value.items():
            yield from encode_output(OutputItem(name, "array", {name: array}), seed, metadata, output)
        return
    details = {**metadata, **_details(item)}
    content, media_type = _encode(item, target, output, details)
    yield Artifact(item.kind, media_type, content, seed, details, item.name)


def _rate(item: OutputItem, output: OutputFormat) -> float:
    """Return the frame rate of a video that is written as GIF; 0 for other outputs."""
    value = item.value
    return value.fps if isinstance(value, Video) and formats.select_format(item.kind, output) == "gif" else 0.0


def _encode(
    item: OutputItem, target: OutputFormat, requested: OutputFormat, details: Mapping[str, Any]
) -> tuple[bytes, str]:
    """Return an output as a file, and its media type."""
    value = item.value
    if isinstance(value, Image):
        return images.encode(value, target, details)
    if isinstance(value, Audio):
        return audio.encode(value, target, details)
    if isinstance(value, str):
        return value.encode(), "text/plain"
    if isinstance(value, Mesh):
        return meshes.encode(value.vertices, value.faces, value.colours, target)
    assert isinstance(value, Mapping)  # noqa: S101 (the caller encodes videos; no other type is left)
    is_single = item.is_separate and target.format != requested.format
    return arrays.encode(value, replace(target, format="npy") if is_single else target)


def _details(item: OutputItem) -> dict[str, Any]:
    """Return the metadata that depend on the value of an output."""
    value = item.value
    if isinstance(value, Image):
        return _size(value)
    if isinstance(value, Audio):
        return {"sampling_rate": value.rate, "seconds": round(value.samples.shape[-1] / value.rate, 3)}
    if isinstance(value, Mapping):
        return {"arrays": {name: {"shape": list(each.shape), "dtype": str(each.dtype)} for name, each in value.items()}}
    return {}


def _size(image: Image) -> dict[str, Any]:
    return {"size": {"width": image.width, "height": image.height}}
