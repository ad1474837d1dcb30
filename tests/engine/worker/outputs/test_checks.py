"""Warnings about black images and NaN."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.engine.worker.outputs.checks import black_image_warnings, capture_cast_warnings
from octabox.engine.worker.outputs.items import OutputItem
from octabox.media.video import Video


def image(mode: str, colour: Any) -> Image.Image:
    """Return an image of one colour."""
    return Image.new(mode, (4, 4), colour)


def of(value: Any, name: str = "images") -> OutputItem:
    """Return an item with a value."""
    return OutputItem(name, "video" if isinstance(value, Video) else "image", value)


BLACK, WHITE = image("RGB", 0), image("RGB", "white")


@pytest.mark.parametrize(
    "value",
    [BLACK, image("L", 0), image("I;16", 0), Video((BLACK, BLACK))],
)
def test_black_outputs(value: Any) -> None:
    """A black image or video gives a warning with the name of its field."""
    (warning,) = black_image_warnings([of(value, "frames")])

    assert "'frames' has an image that is all black" in warning


def test_one_warning_for_each_field() -> None:
    """Several black images of a field give one warning."""
    assert 1 == len(black_image_warnings([of(WHITE), of(BLACK), of(BLACK)]))
    assert 2 == len(black_image_warnings([of(BLACK), of(BLACK, "depth")]))


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
def test_outputs_that_are_not_black(value: Any) -> None:
    """Images with one bright pixel or with transparency, videos that start black, texts and arrays give no warning."""
    assert [] == black_image_warnings([of(value)])


def test_images_of_nan() -> None:
    """A pipeline that casts NaN to bytes several times gives one warning."""
    messages: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with capture_cast_warnings(messages):
                (np.full(3, np.nan) * 255).round().astype("uint8")
                (np.full(3, np.nan) * 255).round().astype("uint8")

    assert ["The pipeline made an image of NaN values. A larger `dtype` may help."] * 2 == messages


def test_other_warnings_are_issued() -> None:
    """Other warnings of Python are issued as usual."""
    messages: list[str] = []
    with pytest.warns(UserWarning, match="something else"), capture_cast_warnings(messages):
        warnings.warn("something else", UserWarning, stacklevel=1)

    assert [] == messages


def test_errors_are_raised() -> None:
    """An exception of a pipeline is raised."""
    with pytest.raises(KeyError), capture_cast_warnings([]):
        raise KeyError("x")
