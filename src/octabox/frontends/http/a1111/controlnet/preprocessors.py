"""Preprocessors of control images that need no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from octabox.errors import InvalidParameterError, nearest

#: Values of an 8-bit image as floats.
Plane = npt.NDArray[np.float32]

#: Default thresholds of an edge, and its radius of smoothing.
LOW, HIGH, SIGMA = 100.0, 200.0, 1.0


@dataclass(frozen=True)
class Preprocessor:
    """A preprocessor.

    Args:
        apply: Makes a control image of an image, by two thresholds.
        description: What it makes.
        sliders: Names, defaults, and ranges of its thresholds.
        control_type: The type of ControlNets that take what it makes.
    """

    apply: Callable[[Image.Image, float, float], Image.Image]
    description: str
    sliders: tuple[tuple[str, float, float, float], ...] = ()
    control_type: str = "All"


def find_edges(image: Image.Image, low: float, high: float) -> Image.Image:
    """Return the edges of an image, white on black, by Canny's method (1986).

    Args:
        image: The image.
        low: Gradient from which on a pixel next to an edge belongs to it.
        high: Gradient from which on a pixel is part of an edge.
    """
    from scipy import ndimage  # noqa: PLC0415 (its import takes long)

    plane = np.asarray(image.convert("L"), np.float32)
    smooth = ndimage.gaussian_filter(plane, SIGMA)
    across, down = ndimage.sobel(smooth, axis=1), ndimage.sobel(smooth, axis=0)
    strength = np.hypot(across, down)
    is_ridge = _ridges(strength, across, down)
    weak, strong = is_ridge & (strength >= min(low, high)), is_ridge & (strength >= max(low, high))
    labels, count = ndimage.label(weak, np.ones((3, 3)))
    kept = np.zeros(count + 1, bool)
    kept[np.unique(labels[strong])] = True
    kept[0] = False
    return Image.fromarray((kept[labels] * 255).astype(np.uint8)).convert("RGB")


def _ridges(strength: Plane, across: Plane, down: Plane) -> npt.NDArray[np.bool_]:
    """Return where the gradient is largest along its own direction, in steps of 45 degrees."""
    direction = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, 1)
    height, width = strength.shape
    is_ridge = np.zeros(strength.shape, bool)
    for index, (x, y) in enumerate(((1, 0), (1, 1), (0, 1), (-1, 1))):
        ahead = padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]
        behind = padded[1 - y : 1 - y + height, 1 - x : 1 - x + width]
        is_ridge |= (direction == index) & (strength >= ahead) & (strength > behind)
    return is_ridge


def _binarize(image: Image.Image, threshold: float, _: float) -> Image.Image:
    return image.convert("L").point(lambda value: 255 if value >= threshold else 0).convert("RGB")


def _invert(image: Image.Image, _low: float, _high: float) -> Image.Image:
    return ImageOps.invert(image.convert("RGB"))


def _blur(image: Image.Image, sigma: float, _: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def _shrink(image: Image.Image, rate: float, _: float) -> Image.Image:
    return image.resize((max(1, round(side / max(rate, 1))) for side in image.size), Image.Resampling.BOX)  # type: ignore[arg-type] # Pillow takes any iterable


#: Preprocessors by the names of the extension.
PREPROCESSORS = {
    "none": Preprocessor(lambda image, _low, _high: image, "The image itself."),
    "canny": Preprocessor(
        find_edges,
        "Edges, white on black.",
        (("Low Threshold", LOW, 1, 255), ("High Threshold", HIGH, 1, 255)),
        "Canny",
    ),
    "invert (from white bg & black line)": Preprocessor(_invert, "Lines, white on black.", control_type="Lineart"),
    "threshold": Preprocessor(_binarize, "Black and white.", (("Binarization Threshold", 127, 0, 255),), "Scribble"),
    "blur_gaussian": Preprocessor(_blur, "A blurred image.", (("Sigma", 9, 0.01, 64),), "Tile"),
    "tile_resample": Preprocessor(_shrink, "A smaller image.", (("Down Sampling Rate", 1, 1, 8),), "Tile"),
}

#: Other names of preprocessors.
ALIASES = {"": "none", "invert": "invert (from white bg & black line)", "tile": "tile_resample"}


def find_preprocessor(name: str) -> tuple[str, Preprocessor]:
    """Return a preprocessor and its name.

    Raises:
        InvalidParameterError: There is no such preprocessor.
    """
    key = name.strip().casefold()
    key = ALIASES.get(key, key)
    if key in PREPROCESSORS:
        return key, PREPROCESSORS[key]
    close = nearest(key, PREPROCESSORS)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(PREPROCESSORS)}."
    raise InvalidParameterError(
        f"There is no preprocessor '{name}'.",
        hint=f"{hint} Send the finished control image with the module 'none'.",
        parameter="module",
        choices=list(PREPROCESSORS),
    )
