"""Fetch and decode the media of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from PIL.Image import Image

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.media.fetching import Fetcher
from octabox.media.images import decode, decode_mask
from octabox.media.limits import MediaLimits
from octabox.types import Source

#: Kinds of parameters whose media can be decoded.
PICTURES = frozenset({"image", "mask"})


async def pictures(
    media: Mapping[str, tuple[Source, ...]], entry: PipelineEntry, fetcher: Fetcher, limits: MediaLimits
) -> dict[str, tuple[Image, ...]]:
    """Return the pictures of a request by call parameter, upright and in RGB (masks in L, white where to repaint).

    Raises:
        MediaError: A picture cannot be read, or is too large.
        ForbiddenUrlError: A URL leads where it must not.
    """
    kinds = {parameter.name: parameter.kind for parameter in entry.parameters}
    decoded: dict[str, tuple[Image, ...]] = {}
    for name, sources in media.items():
        if kinds[name] not in PICTURES:
            hint = "Only pictures can be given so far."
            raise InvalidParameterError(
                f"'{name}' takes {kinds[name]}, which is not served yet.", hint=hint, parameter=name
            )
        read = decode_mask if kinds[name] == "mask" else decode
        files = [await fetcher.fetch(source, parameter=name) for source in sources]
        decoded[name] = tuple([await asyncio.to_thread(read, file, parameter=name, limits=limits) for file in files])
    return decoded
