"""What a call made, before it is written: images, videos, audio, meshes, words and numbers, each under its field's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.types import Kind


@dataclass(frozen=True, eq=False)
class Mesh:
    """A solid's surface.

    Args:
        vertices: Places of its corners, of shape (corners, 3).
        faces: Corners of its triangles by number, of shape (triangles, 3).
        colours: Colours of its corners in [0, 1], of shape (corners, 3); None where it has none.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None


#: What a product holds; arrays go by their fields' names.
Value = Image | Video | Audio | Mesh | str | Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class OutputItem:
    """One thing that a call made.

    Args:
        name: The output's field that it comes from.
        kind: What it is.
        value: The thing itself.
        apart: Whether its numbers are written as a file of their own; else those of all fields share one.
    """

    name: str
    kind: Kind
    value: Value
    apart: bool = False
