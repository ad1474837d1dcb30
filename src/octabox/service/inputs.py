"""Fetch and decode the media of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from PIL.Image import Image

from octabox.catalog.entries import ParameterKind, PipelineEntry
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.engine.protocol import Medium
from octabox.errors import InvalidRequestError, MediaError, RequestError
from octabox.media import arrays, audio, video
from octabox.media.fetcher import Fetcher
from octabox.media.images import decode, decode_mask
from octabox.media.limits import MediaLimits
from octabox.media.video import Video
from octabox.types import Source


class Decoder(Protocol):
    """Makes a medium of the bytes of a file."""

    def __call__(self, data: bytes, *, parameter: str, limits: MediaLimits) -> Medium:
        """Return the medium, or raise MediaError."""
        ...


#: How the files of each kind of parameter are read.
DECODERS: Mapping[ParameterKind, Decoder] = {
    "image": decode,
    "mask": decode_mask,
    "video": video.decode,
    "audio": audio.decode,
    "array": arrays.decode,
}

#: What files are called, where that is not the kind of the parameter.
MEDIA_OF: Mapping[ParameterKind, str] = {"mask": "image"}

#: Axes of the latents of images: batch, channels, height, width.
LATENT_AXES = 4

#: What a client may give for a parameter: files, or nested lists of numbers.
Given = Mapping[str, tuple[Source | list[Any], ...]]


async def decode_inputs(
    media: Given, entry: PipelineEntry, fetcher: Fetcher, limits: MediaLimits
) -> dict[str, tuple[Medium, ...]]:
    """Return the media of a request by call parameter.

    Images are upright and in RGB, masks in L and white where to repaint.

    Raises:
        MediaError: A medium cannot be read, or is too large, or a mask has not the size of its image.
        ForbiddenUrlError: A URL leads where it must not.
        InvalidRequestError: Several of these at once.
    """
    made: dict[str, tuple[Medium, ...]] = {}
    problems: list[RequestError] = []
    for name, given in media.items():
        parameter = entry.parameter(name)
        assert parameter is not None  # noqa: S101 (the plan has checked the names)
        read = DECODERS[parameter.kind]
        try:
            media_of = [await _one(each, name, read, fetcher, limits) for each in given]
            made[name] = tuple(_one_video(media_of) if parameter.kind == "video" else media_of)
        except RequestError as problem:
            if isinstance(problem, MediaError):
                problem.media_kind = MEDIA_OF.get(parameter.kind, parameter.kind)
            problems.append(problem)
    problems += _odd_masks(made, entry)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return made


async def _one(given: Source | list[Any], name: str, read: Decoder, fetcher: Fetcher, limits: MediaLimits) -> Medium:
    """Return one medium, or a list of them for a list; whatever takes long leaves the loop free."""
    if isinstance(given, list) and read is arrays.decode:
        return await asyncio.to_thread(arrays.from_lists, given, parameter=name)
    if isinstance(given, list):
        return [None if each is None else await _one(each, name, read, fetcher, limits) for each in given]
    data = await fetcher.fetch(given, parameter=name)
    if read is decode and data.startswith(arrays.MAGIC):
        read = _latents
    work: Callable[[], Medium] = lambda: read(data, parameter=name, limits=limits)  # noqa: E731 (typed)
    return await asyncio.to_thread(work)


def _latents(data: bytes, *, parameter: str, limits: MediaLimits) -> Medium:
    """Return latents in place of an image, as pipelines that begin from images take them.

    Raises:
        MediaError: It is no array with the axes batch, channels, height and width.
    """
    array = arrays.decode(data, parameter=parameter, limits=limits)
    if array.ndim != LATENT_AXES:
        raise MediaError(
            f"The file for '{parameter}' is no image: it is an array of {list(array.shape)}.",
            hint="Send an image, or latents of (batch, channels, height, width).",
            parameter=parameter,
        )
    return array


def _one_video(media: list[Medium]) -> list[Medium]:
    """Return images that are given where a video is taken as the frames of one; videos as they are."""
    stills = media[0] if len(media) == 1 and isinstance(media[0], list) else media
    videos = [each for each in stills if isinstance(each, Video) and len(each.frames) == 1]
    if not videos or len(videos) < len(stills):
        return media
    return [replace(videos[0], frames=tuple(each.frames[0] for each in videos))]


def _odd_masks(made: Mapping[str, tuple[Medium, ...]], entry: PipelineEntry) -> list[RequestError]:
    """Return an error for each mask that has not the size of the image that it belongs to."""
    problems: list[RequestError] = []
    given = [(each, made[each.name][0]) for each in entry.parameters if each.name in made]
    found = [medium for each, medium in given if each.kind == "image" and not CONTROL_PARAMETERS.search(each.name)]
    masks = [(each.name, medium) for each, medium in given if each.kind == "mask"]
    for name, mask in masks:
        sizes = [each.size for each in found if isinstance(each, Image)]
        if isinstance(mask, Image) and sizes and mask.size not in sizes:
            shown = [f"{width}x{height}" for width, height in (mask.size, sizes[0])]
            problems.append(
                MediaError(
                    f"The mask '{name}' is {shown[0]}, and its image {shown[1]}.",
                    hint="Send a mask of the image's size, white where to repaint.",
                    parameter=name,
                )
            )
    return problems
