"""Encode output meshes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from octabox.errors import GenerationError
from octabox.media.formats import check_output_format, media_type_of, select_format
from octabox.types import OutputFormat

#: Number of coordinates of a vertex, and of vertices of a face.
THREE = 3

#: Largest value of a colour channel.
MAX_CHANNEL = 255


def encode(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], colours: npt.NDArray[Any] | None, output: OutputFormat
) -> tuple[bytes, str]:
    """Encode a mesh to a file, and return it with its media type.

    Args:
        vertices: Vertices, of shape (n, 3).
        faces: Triangles as vertex indices, of shape (m, 3).
        colours: Vertex colours in [0, 1], of shape (n, 3); None for no colours.
        output: Output format.

    Raises:
        InvalidParameterError: The format is not supported.
        GenerationError: The shapes or values are inconsistent.
    """
    check_output_format(output, "mesh")
    name = select_format("mesh", output)
    points, corners = np.asarray(vertices, np.float32), np.asarray(faces, np.int64)
    _check(points, corners, colours)
    channels = None
    if colours is not None:
        channels = np.rint(np.nan_to_num(np.asarray(colours, np.float64)).clip(0, 1) * MAX_CHANNEL).astype(np.uint8)
    # Half a second of imports, which few models need.
    import trimesh  # noqa: PLC0415

    # Not processed: trimesh would merge vertices and drop faces.
    mesh = trimesh.Trimesh(points, corners, vertex_colors=channels, process=False)
    content = mesh.export(file_type=name)
    return content.encode() if isinstance(content, str) else bytes(content), media_type_of(name)


def _check(points: npt.NDArray[Any], corners: npt.NDArray[Any], colours: npt.NDArray[Any] | None) -> None:
    """Check that the shapes and values of a mesh are consistent.

    Raises:
        GenerationError: They are not.
    """
    why = ""
    if any(part.ndim != 2 or part.shape[1] != THREE or not len(part) for part in (points, corners)):  # noqa: PLR2004 (a table)
        why = f"with vertices of shape {points.shape} and faces of shape {corners.shape}"
    elif not np.isfinite(points).all():
        why = "with vertices that are not finite"
    elif corners.min() < 0 or corners.max() >= len(points):
        why = "with faces of vertices that do not exist"
    elif colours is not None and np.shape(colours) != points.shape:
        why = f"of {len(points)} vertices with colours of shape {np.shape(colours)}"
    if why:
        raise GenerationError(f"The model returned a mesh {why}.")
