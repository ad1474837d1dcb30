"""Tell what looks wrong with what a call made: numbers that were none, and pictures that are all black."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL.Image import Image

from octabox.engine.worker.outputs.products import Product
from octabox.media.video import Clip

#: What numpy says where a number that is none is made a byte of a picture, as pipelines do themselves.
CAST = re.compile(r"invalid value encountered in cast")

#: Modes of pictures whose alpha says what is seen of them: one that hides nothing may well be black below it.
WITH_ALPHA = frozenset({"RGBA", "LA", "PA"})


@contextmanager
def cast_warnings(said: list[str]) -> Iterator[None]:
    """Add a sentence to ``said`` where a pipeline makes pictures of numbers that are none; other warnings go their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", CAST.pattern, RuntimeWarning)
        yield
    found = [bool(CAST.search(str(each.message))) for each in caught]
    for each, is_cast in zip(caught, found, strict=True):
        if not is_cast:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)
    if any(found):
        said.append("The pipeline made a picture of numbers that are none (NaN). A larger `dtype` may help.")


def black(products: Sequence[Product]) -> list[str]:
    """Return a sentence for each field whose pictures, or one of whose pictures or clips, are all black."""
    names = dict.fromkeys(product.name for product in products if _is_black(product))
    return [
        f"'{name}' has a picture that is all black. Numbers out of range may be the cause: a larger `dtype` may help."
        for name in names
    ]


def _is_black(product: Product) -> bool:
    frames = product.value.frames if isinstance(product.value, Clip) else (product.value,)
    return all(isinstance(frame, Image) and frame.mode not in WITH_ALPHA and not frame.getbbox() for frame in frames)
