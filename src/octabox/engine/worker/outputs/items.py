"""Outputs of a call before they are encoded: images, videos, audio, meshes, texts and arrays."""

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
    """A triangle mesh.

    Args:
        vertices: Positions of its vertices, of shape (vertices, 3).
        faces: Vertex indices of its triangles, of shape (triangles, 3).
        colours: Colours of its vertices in [0, 1], of shape (vertices, 3); None if it has none.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None


#: The value of an output; arrays are by name.
Value = Image | Video | Audio | Mesh | str | Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class OutputItem:
    """One output of a call.

    Args:
        name: The field of the pipeline's output that it is from.
        kind: Its media kind.
        value: Its value.
        is_separate: Whether its arrays are written to a separate file; else those of all fields share one.
    """

    name: str
    kind: Kind
    value: Value
    is_separate: bool = False
