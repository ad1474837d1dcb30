"""Preprocessors that need no model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.controlnet.control import preprocess
from octabox.frontends.http.a1111.controlnet.preprocessors import PREPROCESSORS, find_preprocessor


def square() -> Image.Image:
    """Return a white square on black."""
    image = Image.new("RGB", (64, 64))
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill="white")
    return image


def test_edges_are_those_of_the_shape() -> None:
    """They are thin, closed, and where the colour changes."""
    edges = np.asarray(preprocess(square(), "canny", -1, -1, -1).convert("L")) > 0
    rows, columns = np.nonzero(edges)

    assert 100 < edges.sum() < 260
    assert (14, 49) == (min(rows.min(), columns.min()) - 1, max(rows.max(), columns.max()) + 1)
    assert not edges[20:44, 20:44].any()


def test_thresholds() -> None:
    """A faint edge is found below its gradient only."""
    faint = Image.new("L", (32, 32), 100)
    faint.paste(110, (16, 0, 32, 32))
    counts = [
        int((np.asarray(preprocess(faint.convert("RGB"), "canny", -1, low, high)) > 0).sum())
        for low, high in ((5, 10), (100, 200))
    ]

    assert counts[0] > 0 == counts[1]


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_thresholds_have_a_range(name: str) -> None:
    """One outside of it is the nearest one within it."""
    most = [each[3] for each in PREPROCESSORS[name].sliders]
    ends = [*most, 0, 0][:2]

    assert preprocess(square(), name, -1, 1e30, 1e30).tobytes() == preprocess(square(), name, -1, *ends).tobytes()


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_each_makes_an_image(name: str) -> None:
    """In RGB; at a smaller resolution that is the size."""
    made = preprocess(square(), name, 32, -1, -1)

    assert "RGB" == made.mode
    assert (64 if name == "none" else 32) >= made.width


def test_unknown() -> None:
    """The error lists those that there are."""
    with pytest.raises(InvalidParameterError, match="module 'none'"):
        find_preprocessor("openpose_full")
