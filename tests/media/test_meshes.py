"""Meshes out."""

import io
from typing import Any

import numpy as np
import pytest
import trimesh

from octabox.errors import GenerationError, InvalidParameterError
from octabox.media.meshes import encode
from octabox.types import OutputFormat

#: Two triangles; the last vertex stands where the first does, and belongs to nothing.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [0, 0, 0]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0.5, 2, np.nan]])


@pytest.mark.parametrize(
    ("name", "media_type"),
    [(None, "model/gltf-binary"), ("glb", "model/gltf-binary"), ("ply", "model/ply"), ("obj", "model/obj")],
)
@pytest.mark.parametrize("colours", [None, COLOURS])
def test_what_is_written_can_be_read(name: str | None, media_type: str, colours: Any) -> None:
    """Vertices, faces and colours come back, in their order."""
    content, written_as = encode(VERTICES, FACES, colours, OutputFormat(name))
    found: Any = trimesh.load(io.BytesIO(content), file_type=name or "glb", force="mesh", process=False)

    assert media_type == written_as
    assert np.allclose(VERTICES[FACES], found.vertices[found.faces])
    if colours is not None:
        assert [[255, 0, 0], [0, 255, 0], [0, 0, 255]] == found.visual.vertex_colors[found.faces[0], :3].tolist()


@pytest.mark.parametrize(
    ("vertices", "faces", "colours", "says"),
    [
        (VERTICES[:, :2], FACES, None, r"shape \(5, 2\)"),
        (VERTICES[:0], FACES[:0], None, r"shape \(0, 3\)"),
        (VERTICES, FACES + 3, None, "vertices that do not exist"),
        (VERTICES, FACES - 1, None, "vertices that do not exist"),
        (VERTICES * np.nan, FACES, None, "not finite"),
        (VERTICES, FACES, COLOURS[:2], "5 vertices with colours"),
    ],
)
def test_parts_that_do_not_fit(vertices: Any, faces: Any, colours: Any, says: str) -> None:
    """A broken mesh is said to be one, and is not written."""
    with pytest.raises(GenerationError, match=says):
        encode(vertices, faces, colours, OutputFormat())


def test_an_unknown_format() -> None:
    """A format that is not written names those that are."""
    with pytest.raises(InvalidParameterError) as caught:
        encode(VERTICES, FACES, None, OutputFormat("stl"))

    assert ("glb", "ply", "obj") == caught.value.choices
