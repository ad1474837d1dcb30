"""An image and a mask of odd makes to a real server: each is seen as what it shows, whatever way its file writes it."""

from __future__ import annotations

import base64
from typing import Any

import httpx

from bringing import PAINTER, ask
from odd_media import IMAGES, MASKS, WHITE


def made(takers: httpx.Client, **files: Any) -> bytes:
    """Return what is made of an image and a mask."""
    answer = ask(takers, PAINTER, **files)
    assert answer.is_success, answer.text
    return base64.b64decode(answer.json()["outputs"][0]["b64_json"])


def test_an_image_is_what_it_shows(takers: httpx.Client) -> None:
    """The same comes of a photo that is turned as of a PNG that shows the same, and other than of another image."""
    odd, plain = IMAGES["turned"]()
    found = made(takers, image=odd)

    assert made(takers, image=plain) == found
    assert made(takers) != found


def test_a_mask_is_what_it_shows(takers: httpx.Client) -> None:
    """The same comes of a mask of 16 bits as of one of eight, and other than of a mask that is white all over."""
    odd, plain = MASKS["16 bits"]()
    found = made(takers, mask_image=odd)

    assert made(takers, mask_image=plain) == found
    assert made(takers, mask_image=WHITE) != found
