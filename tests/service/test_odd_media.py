"""Images and masks of every make, where they are decoded: each is seen as what it shows, whatever way its file writes it."""

from __future__ import annotations

import pytest
from PIL.Image import Image

from in_process_decoder import InProcessDecoder
from makers.samples import content
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.inputs import decode_inputs
from odd_media import IMAGES, MASKS, WHITE

#: A call that takes an image and a mask.
ENTRY = PipelineEntry(
    "Painter", "made.up", "made", parameters=(Parameter("image", "", "image"), Parameter("mask_image", "", "mask"))
)


async def seen(parameter: str, data: bytes) -> tuple[str, tuple[int, int], bytes]:
    """Return what a pipeline is given for a file: the mode, size and pixels."""
    limits = MediaLimits()
    (found,) = (await decode_inputs({parameter: (data,)}, ENTRY, Fetcher(limits), InProcessDecoder(limits)))[parameter]
    assert isinstance(found, Image)
    return found.mode, found.size, found.tobytes()


@pytest.mark.parametrize("name", list(IMAGES))
async def test_an_image_is_what_it_shows(name: str) -> None:
    """It is the same as a plain PNG of eight bits a colour that shows the same, and other than another image."""
    odd, plain = IMAGES[name]()
    found = await seen("image", odd)

    assert await seen("image", plain) == found
    assert await seen("image", content("image")) != found


@pytest.mark.parametrize("name", list(MASKS))
async def test_a_mask_is_what_it_shows(name: str) -> None:
    """It is the same as a mask of eight bits of grey, and other than a mask that is white all over."""
    odd, plain = MASKS[name]()
    found = await seen("mask_image", odd)

    assert await seen("mask_image", plain) == found
    assert await seen("mask_image", WHITE) != found
