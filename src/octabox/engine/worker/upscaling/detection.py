"""Find faces in an image by the cascade classifiers that OpenCV ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from octabox.errors import MissingDependencyError

#: OpenCV's classifier for faces that look at the camera.
CLASSIFIER = "haarcascade_frontalface_default.xml"

#: Growth of the search window, and how many overlapping windows make a face; more find fewer false ones.
SCALE_STEP, NEIGHBOURS = 1.1, 6

#: Fraction of the shorter side that the smallest face has, and its minimum in pixels.
SMALLEST, MIN_SIDE = 1 / 24, 24

#: Side of the square around a face, by the width of the face: networks are trained on the complete head.
HEAD = 1.8


@dataclass(frozen=True)
class Face:
    """A square around a face, inside the image.

    Args:
        left: Its left edge, in pixels.
        top: Its upper edge.
        side: Its side.
    """

    left: int
    top: int
    side: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Its edges: left, upper, right, lower."""
        return self.left, self.top, self.left + self.side, self.top + self.side


def find_faces(image: Image.Image) -> list[Face]:
    """Return the faces in an image, from left to right.

    Raises:
        MissingDependencyError: OpenCV is not installed, or lacks its classifiers.
    """
    try:
        import cv2  # noqa: PLC0415 (an optional package)
    except ImportError as error:
        raise _missing("OpenCV, which finds the faces, is not installed.") from error
    file = Path(getattr(getattr(cv2, "data", None), "haarcascades", "")) / CLASSIFIER
    if not hasattr(cv2, "CascadeClassifier") or not file.is_file():
        raise _missing(f"OpenCV {cv2.__version__} has no cascade classifiers, which find the faces.")
    gray = cv2.equalizeHist(np.asarray(image.convert("L")))
    smallest = max(round(min(image.size) * SMALLEST), MIN_SIDE)
    found = cv2.CascadeClassifier(str(file)).detectMultiScale(
        gray, scaleFactor=SCALE_STEP, minNeighbors=NEIGHBOURS, minSize=(smallest, smallest)
    )
    return sorted(
        (_around([int(each) for each in box], image.size) for box in found), key=lambda face: (face.left, face.top)
    )


def _around(box: Sequence[int], size: tuple[int, int]) -> Face:
    """Return the square around a face, moved into the image."""
    left, top, width, height = box
    side = min(round(max(width, height) * HEAD), *size)
    x, y = left + width // 2 - side // 2, top + height // 2 - side // 2
    return Face(min(max(x, 0), size[0] - side), min(max(y, 0), size[1] - side), side)


def _missing(message: str) -> MissingDependencyError:
    return MissingDependencyError(message, hint='Install it: pip install "octabox[faces]"')
