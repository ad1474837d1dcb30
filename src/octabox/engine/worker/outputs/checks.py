"""Tell what looks wrong with what a call made: numbers that were none, and images that are all black."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL.Image import Image

from octabox.engine.worker.outputs.items import OutputItem
from octabox.media.video import Video

#: What numpy says where a number that is none is made a byte of an image, as pipelines do themselves.
CAST = re.compile(r"invalid value encountered in cast")

#: Modes of images whose alpha says what is seen of them: one that hides nothing may well be black below it.
WITH_ALPHA = frozenset({"RGBA", "LA", "PA"})


@contextmanager
def cast_warnings(said: list[str]) -> Iterator[None]:
    """Add a sentence to ``said`` where a pipeline makes images of numbers that are none; other warnings go their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", CAST.pattern, RuntimeWarning)
        yield
    found = [bool(CAST.search(str(each.message))) for each in caught]
    for each, is_cast in zip(caught, found, strict=True):
        if not is_cast:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)
    if any(found):
        said.append("The pipeline made an image of numbers that are none (NaN). A larger `dtype` may help.")


def black(products: Sequence[OutputItem]) -> list[str]:
    """Return a sentence for each field whose images, or one of whose images or videos, are all black."""
    names = dict.fromkeys(product.name for product in products if _is_black(product))
    return [
        f"'{name}' has an image that is all black. Numbers out of range may be the cause: a larger `dtype` may help."
        for name in names
    ]


def _is_black(product: OutputItem) -> bool:
    frames = product.value.frames if isinstance(product.value, Video) else (product.value,)
    return all(isinstance(frame, Image) and frame.mode not in WITH_ALPHA and not frame.getbbox() for frame in frames)
