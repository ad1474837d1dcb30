"""Write the meshes that models make."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import trimesh

from octabox.errors import GenerationError
from octabox.media.formats import check_output_format, media_type_of, select_format
from octabox.types import OutputFormat

#: Length of a point, and number of corners of a face.
THREE = 3

#: The largest value of a channel of a colour.
FULL = 255


def encode(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], colours: npt.NDArray[Any] | None, output: OutputFormat
) -> tuple[bytes, str]:
    """Return a mesh as a file, and the file's media type.

    Args:
        vertices: Points, of shape (n, 3).
        faces: Triangles as numbers of their vertices, of shape (m, 3).
        colours: Colours of the vertices in [0, 1], of shape (n, 3); None leaves them open.
        output: How to write it.

    Raises:
        InvalidParameterError: The format is none that is written.
        GenerationError: The parts do not fit together.
    """
    check_output_format(output, "mesh")
    name = select_format("mesh", output)
    points, corners = np.asarray(vertices, np.float32), np.asarray(faces, np.int64)
    _check(points, corners, colours)
    painted = None
    if colours is not None:
        painted = np.rint(np.nan_to_num(np.asarray(colours, np.float64)).clip(0, 1) * FULL).astype(np.uint8)
    # Left as the model made it: trimesh would merge vertices and drop faces.
    mesh = trimesh.Trimesh(points, corners, vertex_colors=painted, process=False)
    content = mesh.export(file_type=name)
    return content.encode() if isinstance(content, str) else bytes(content), media_type_of(name)


def _check(points: npt.NDArray[Any], corners: npt.NDArray[Any], colours: npt.NDArray[Any] | None) -> None:
    """Make sure that the parts of a mesh fit together.

    Raises:
        GenerationError: They do not.
    """
    why = ""
    if any(part.ndim != 2 or part.shape[1] != THREE or not len(part) for part in (points, corners)):  # noqa: PLR2004 (a table)
        why = f"with vertices of shape {points.shape} and faces of shape {corners.shape}"
    elif not np.isfinite(points).all():
        why = "with vertices that are no numbers"
    elif corners.min() < 0 or corners.max() >= len(points):
        why = "with faces that have no vertices"
    elif colours is not None and np.shape(colours) != points.shape:
        why = f"of {len(points)} vertices with colours of shape {np.shape(colours)}"
    if why:
        raise GenerationError(f"The model made a mesh {why}.")
