"""Meshes of files by the page's own code: each format that the server writes has the vertices, colours and triangles."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from octabox.media import meshes
from octabox.types import OutputFormat
from page_scripts import copy_scripts, run

PARSE = """
import { parseMesh } from './js/mesh-files.js';
const bytes = Uint8Array.from(atob(value.content), (each) => each.charCodeAt(0));
let found;
try { found = parseMesh(bytes.buffer, value.type); } catch (error) { found = { message: error.message }; }
const lists = Object.entries(found).map(([name, each]) => [name, typeof each === 'string' ? each : [...each]]);
console.log(JSON.stringify(Object.fromEntries(lists)));
"""

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
FACES = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]])
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


def parse(scripts: Path, content: bytes, media_type: str) -> Any:
    """Return what the page reads from a file."""
    return run(scripts, PARSE, {"content": base64.b64encode(content).decode(), "type": media_type})


@pytest.mark.parametrize("name", ["glb", "ply", "obj"])
@pytest.mark.parametrize("coloured", [True, False])
def test_every_format_is_read(scripts: Path, name: str, *, coloured: bool) -> None:
    """A tetrahedron is the same from each file; without colours it is grey."""
    content, media_type = meshes.encode(VERTICES, FACES, COLOURS if coloured else None, OutputFormat(name))
    found = parse(scripts, content, media_type)

    assert np.allclose(VERTICES.reshape(-1), found["positions"], atol=1e-5)
    assert FACES.reshape(-1).tolist() == found["indices"]
    assert len(found["colours"]) == VERTICES.size
    if coloured:
        assert np.allclose(COLOURS.reshape(-1), found["colours"], atol=0.01)


def test_polygons_and_negative_indices(scripts: Path) -> None:
    """A quadrangle is two triangles, and OBJ counts from the end by negative numbers."""
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4/1 -3/2 -2/3 -1/4\n"

    assert [0, 1, 2, 0, 2, 3] == parse(scripts, text.encode(), "model/obj")["indices"]
    ply = (
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    )
    assert [0, 1, 2] == parse(scripts, ply.encode(), "model/ply")["indices"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"no mesh at all, but long enough", "model/gltf-binary"),
        (b"nothing", "model/ply"),
        (b"v 0 0 0\nf 1 2 3\n", "model/obj"),
        (b"", "model/obj"),
    ],
)
def test_what_is_no_mesh_is_said(scripts: Path, content: bytes, media_type: str) -> None:
    """A file that cannot be shown is an error with words, and no triangle points beyond the vertices."""
    assert {"message": "This mesh cannot be shown."} == parse(scripts, content, media_type)


@pytest.mark.parametrize("name", ["glb", "ply"])
@pytest.mark.parametrize("length", [0, 10, 150])
def test_a_file_that_was_cut_off_cannot_be_shown(scripts: Path, name: str, length: int) -> None:
    """It has one message, wherever it ends."""
    content, media_type = meshes.encode(VERTICES, FACES, None, OutputFormat(name))

    assert {"message": "This mesh cannot be shown."} == parse(scripts, content[:length], media_type)
