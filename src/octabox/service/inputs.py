"""Fetch and decode the media of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL.Image import Image

from octabox.catalog.entries import Parameter, ParameterKind, PipelineEntry
from octabox.catalog.tasks import CONTROL_PARAMETERS, is_mask
from octabox.engine.protocol import Medium
from octabox.errors import InvalidParameterError, InvalidRequestError, MediaError, RequestError
from octabox.media import arrays
from octabox.media.decoding.decoders import Decoder
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.media.video import Video
from octabox.types import Source

#: Media types of parameters, if they differ from the kind of the parameter.
MEDIA_TYPES: Mapping[ParameterKind, str] = {"mask": "image"}

#: Axes of the latents of images: batch, channels, height, width.
LATENT_AXES = 4

#: The sources of the inputs by call parameter: files, or nested lists of numbers.
Sources = Mapping[str, tuple[Source | list[Any], ...]]


async def decode_inputs(
    sources: Sources, entry: PipelineEntry, fetcher: Fetcher, decoder: Decoder
) -> dict[str, tuple[Medium, ...]]:
    """Return the decoded media of a request by call parameter.

    Images are upright and in RGB; masks are in L, and white where the image is painted.

    Raises:
        MediaError: A file cannot be decoded, or is too large, or a mask does not fit its image or video.
        ForbiddenUrlError: A URL is forbidden.
        InvalidRequestError: There are several of these problems.
    """
    decoded: dict[str, tuple[Medium, ...]] = {}
    problems: list[RequestError] = []
    for name, files in sources.items():
        parameter = entry.parameter(name)
        assert parameter is not None  # noqa: S101 (the plan has checked the names)
        try:
            if parameter.kind == "video":
                decoded[name] = tuple(await _decode_video(files, parameter, fetcher, decoder))
            else:
                decoded[name] = tuple([await _decode_one(each, parameter, fetcher, decoder) for each in files])
        except RequestError as problem:
            if isinstance(problem, MediaError):
                problem.media_kind = MEDIA_TYPES.get(parameter.kind, parameter.kind)
            problems.append(problem)
    problems += _mask_problems(decoded, entry)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return decoded


async def _decode_one(source: Source | list[Any], parameter: Parameter, fetcher: Fetcher, decoder: Decoder) -> Medium:
    """Return one decoded medium, or a list of them for a list; what takes time runs in a thread."""
    if isinstance(source, list) and parameter.kind == "array":
        return await asyncio.to_thread(arrays.from_lists, source, parameter=parameter.name)
    if isinstance(source, list):
        return [None if each is None else await _decode_one(each, parameter, fetcher, decoder) for each in source]
    data = await fetcher.fetch(source, parameter=parameter.name)
    if parameter.kind == "image" and data.startswith(arrays.MAGIC):
        return _check_latents(await decoder.decode("array", data, parameter=parameter.name), parameter)
    return await decoder.decode(parameter.kind, data, parameter=parameter.name)


def _check_latents(array: Medium, parameter: Parameter) -> Medium:
    """Return latents, which pipelines take in place of an image.

    Raises:
        MediaError: The array does not have the axes batch, channels, height and width.
    """
    shape = getattr(array, "shape", ())
    if len(shape) != LATENT_AXES:
        raise MediaError(
            f"The file for '{parameter.name}' is not an image, but an array of shape {list(shape)}.",
            hint="Send an image, or latents of (batch, channels, height, width).",
            parameter=parameter.name,
        )
    return array


async def _decode_video(
    files: Sequence[Source | list[Any]], parameter: Parameter, fetcher: Fetcher, decoder: Decoder
) -> list[Medium]:
    """Return the decoded files of a video parameter; images are the frames of one video.

    Raises:
        InvalidParameterError: There are several videos, and the parameter takes one.
        MediaError: The frames are too many, or differ in size.
    """
    media: list[Medium] = []
    for each in files:
        media.append(await _decode_one(each, parameter, fetcher, decoder))
        if len(files) > 1 and not parameter.many and not _is_frame(media[-1]):
            raise InvalidParameterError(
                f"{parameter.name} takes one video, not {len(files)}.",
                hint="Send one file in each request, or the frames of one video as images.",
                parameter=parameter.name,
            )
        _check_frames(media, parameter, fetcher.limits)
    frames = media[0] if len(media) == 1 and isinstance(media[0], list) else media
    _check_frames(frames, parameter, fetcher.limits)
    stills = [each for each in frames if isinstance(each, Video) and _is_frame(each)]
    if not stills or len(stills) < len(frames):
        return media
    return [replace(stills[0], frames=tuple(each.frames[0] for each in stills))]


def _is_frame(medium: Medium) -> bool:
    """Return whether a decoded file of a video parameter is a single image."""
    return isinstance(medium, Video) and len(medium.frames) == 1


def _check_frames(media: Sequence[Medium], parameter: Parameter, limits: MediaLimits) -> None:
    """Check the frames of a video that are separate images.

    Raises:
        MediaError: They are too many, too large together, or differ in size.
    """
    frames = [each.frames[0] for each in media if isinstance(each, Video) and _is_frame(each)]
    if not frames or len(frames) < len(media):
        return
    limits.check_frames(len(frames), frames[-1].size, parameter.name)
    if frames[-1].size != frames[0].size:
        first, last = (f"{width}x{height}" for width, height in (frames[0].size, frames[-1].size))
        raise MediaError(
            f"The images for '{parameter.name}' are {first} and {last}, and the frames of a video have one size.",
            hint="Send images of one size.",
            parameter=parameter.name,
        )


def input_warnings(inputs: Mapping[str, tuple[Medium, ...]]) -> list[str]:
    """Return a warning for each video whose audio no pipeline takes; that of silence is not missed."""
    return [
        f"The audio of the video '{name}' has no effect: pipelines take its frames alone."
        for name, media in inputs.items()
        if any(isinstance(each, Video) and each.audio is not None and each.audio.samples.any() for each in media)
    ]


def _mask_problems(decoded: Mapping[str, tuple[Medium, ...]], entry: PipelineEntry) -> list[RequestError]:
    """Return an error for each mask that does not have the size of its image or video, or the length of its video."""
    problems: list[RequestError] = []
    inputs = [(each, decoded[each.name][0]) for each in entry.parameters if each.name in decoded]
    masked = [
        medium
        for each, medium in inputs
        if each.kind in ("image", "video") and not is_mask(each) and not CONTROL_PARAMETERS.search(each.name)
    ]
    videos = [each for each in masked if isinstance(each, Video)]
    sizes = {_size(each): "video" if isinstance(each, Video) else "image" for each in masked if _size(each)}
    for name, mask in ((each.name, medium) for each, medium in inputs if is_mask(each)):
        size, lengths = _size(mask), [len(each.frames) for each in videos]
        if size and sizes and size not in sizes:
            other, kind = next(iter(sizes.items()))
            message = f"The mask '{name}' is {size}, and its {kind} {other}."
            hint = f"Send a mask of the {kind}'s size, white where the {kind} is painted."
            problems.append(MediaError(message, hint=hint, parameter=name))
        elif isinstance(mask, Video) and lengths and len(mask.frames) not in (1, *lengths):
            message = f"The mask '{name}' has {len(mask.frames)} frames, and its video {lengths[0]}."
            hint = "Send one mask, or one for each frame of the video."
            problems.append(MediaError(message, hint=hint, parameter=name))
    return problems


def _size(medium: Medium) -> str:
    """Return the size of an image, or of the frames of a video, as WIDTHxHEIGHT; empty for other media."""
    image = medium.frames[0] if isinstance(medium, Video) else medium
    return f"{image.width}x{image.height}" if isinstance(image, Image) else ""
