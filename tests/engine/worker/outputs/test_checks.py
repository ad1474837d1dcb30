"""What looks wrong with a call's outputs is told, and nothing else."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.engine.worker.outputs.checks import black, cast_warnings
from octabox.engine.worker.outputs.items import OutputItem
from octabox.media.video import Video


def image(mode: str, colour: Any) -> Image.Image:
    """Return an image of one colour."""
    return Image.new(mode, (4, 4), colour)


def of(value: Any, name: str = "images") -> OutputItem:
    """Return a product of this value."""
    return OutputItem(name, "video" if isinstance(value, Video) else "image", value)


BLACK, WHITE = image("RGB", 0), image("RGB", "white")


@pytest.mark.parametrize(
    "value",
    [BLACK, image("L", 0), image("I;16", 0), Video((BLACK, BLACK))],
)
def test_what_is_all_black_is_told(value: Any) -> None:
    """An image or a video without any light is told with its field's name."""
    (said,) = black([of(value, "frames")])

    assert "'frames' has an image that is all black" in said


def test_a_field_is_told_once() -> None:
    """Several black images of a field are one sentence, those of two fields two."""
    assert 1 == len(black([of(WHITE), of(BLACK), of(BLACK)]))
    assert 2 == len(black([of(BLACK), of(BLACK, "depth")]))


@pytest.mark.parametrize(
    "value",
    [
        WHITE,
        image("RGB", (0, 0, 1)),
        image("RGBA", (0, 0, 0, 0)),
        Video((BLACK, WHITE)),
        "words",
        {"images": np.zeros((4, 4))},
    ],
)
def test_what_has_light_or_is_no_image_is_not_told(value: Any) -> None:
    """A single speck, a layer that hides nothing, a video that begins in the dark, words and numbers are all right."""
    assert [] == black([of(value)])


def test_an_image_made_of_no_numbers_is_told() -> None:
    """Where a pipeline casts NaN to bytes, that is one sentence, however often it does."""
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with cast_warnings(said):
                (np.full(3, np.nan) * 255).round().astype("uint8")
                (np.full(3, np.nan) * 255).round().astype("uint8")

    assert ["The pipeline made an image of numbers that are none (NaN). A larger `dtype` may help."] * 2 == said


def test_other_warnings_go_their_way() -> None:
    """A warning of another kind is no sentence of ours, and is still heard."""
    said: list[str] = []
    with pytest.warns(UserWarning, match="something else"), cast_warnings(said):
        warnings.warn("something else", UserWarning, stacklevel=1)

    assert [] == said


def test_an_error_passes_through() -> None:
    """What a pipeline raises is raised."""
    with pytest.raises(KeyError), cast_warnings([]):
        raise KeyError("x")
