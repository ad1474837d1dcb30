"""Check the outputs of a call for NaN and for images that are all black."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL.Image import Image

from octabox.engine.worker.outputs.items import OutputItem
from octabox.media.video import Video

#: The message of numpy where a pipeline casts NaN to the bytes of an image.
CAST = re.compile(r"invalid value encountered in cast")

#: Image modes with an alpha channel: a transparent image may well be black.
WITH_ALPHA = frozenset({"RGBA", "LA", "PA"})


@contextmanager
def capture_cast_warnings(messages: list[str]) -> Iterator[None]:
    """Add a message where a pipeline makes an image of NaN within the context; other warnings are issued as usual."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", CAST.pattern, RuntimeWarning)
        yield
    found = [bool(CAST.search(str(each.message))) for each in caught]
    for each, is_cast in zip(caught, found, strict=True):
        if not is_cast:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)
    if any(found):
        messages.append("The pipeline made an image of NaN values. A larger `dtype` may help.")


def black_image_warnings(items: Sequence[OutputItem]) -> list[str]:
    """Return a warning for each field with an image or video that is all black."""
    names = dict.fromkeys(item.name for item in items if _is_black(item))
    return [
        f"'{name}' has an image that is all black. Values out of range may be the cause: a larger `dtype` may help."
        for name in names
    ]


def _is_black(item: OutputItem) -> bool:
    frames = item.value.frames if isinstance(item.value, Video) else (item.value,)
    return all(isinstance(frame, Image) and frame.mode not in WITH_ALPHA and not frame.getbbox() for frame in frames)
