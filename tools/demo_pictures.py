"""Draw the pictures that the embedded model learns from, and judge the ones it makes.

A picture is one shape of one colour, roughly in the middle of a plain background. The same definitions serve to draw, to
describe and to judge, so that a test can ask whether a picture shows what its prompt said.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

#: Width and height of a picture in pixels.
SIZE = 128

#: Colour words and the RGB value that each stands for.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (45, 85, 220),
    "yellow": (240, 205, 50),
    "orange": (245, 140, 35),
    "purple": (140, 60, 190),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}

#: Size words and the radius that each stands for, as a range of parts of the picture's width.
SIZES: dict[str, tuple[float, float]] = {"small": (0.18, 0.22), "": (0.26, 0.31), "large": (0.34, 0.38)}

#: How far from the middle a shape may stand, in parts of the picture's width.
JITTER = 0.035

Polygon = list[tuple[float, float]]


def _regular(points: int, turn: float, radius: float = 1.0) -> Polygon:
    """Return a regular polygon around (0, 0); ``turn`` is its first corner's angle in turns, 0 to the right."""
    angles = [2 * math.pi * (turn + k / points) for k in range(points)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _star() -> Polygon:
    """Return a five-pointed star with one point up."""
    outer, inner = _regular(5, -0.25, 1.25), _regular(5, -0.15, 0.55)
    return [corner for pair in zip(outer, inner, strict=True) for corner in pair]


def _heart() -> Polygon:
    """Return the heart curve x = 16 sin^3 t, y = -(13 cos t - 5 cos 2t - 2 cos 3t - cos 4t), scaled to radius 1."""
    steps = [2 * math.pi * k / 72 for k in range(72)]
    wave = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in steps]
    return [(math.sin(t) ** 3 * 1.1, -y / 14.5) for t, y in zip(steps, wave, strict=True)]


#: Shape words and the outline of each around (0, 0), y downwards, with a radius of about 1.
SHAPES: dict[str, Polygon] = {
    "circle": _regular(72, 0),
    "square": _regular(4, 0.125, 1.25),
    "triangle": [(x, y + 0.18) for x, y in _regular(3, -0.25, 1.3)],
    "diamond": [(x * 0.8, y * 1.3) for x, y in _regular(4, 0)],
    "star": _star(),
    "heart": _heart(),
}


@dataclass(frozen=True)
class Scene:
    """What a picture shows; ``size`` is a word of `SIZES`, radius and offsets are parts of the picture's width."""

    shape: str
    colour: str
    background: str
    size: str = ""
    radius: float = 0.28
    dx: float = 0.0
    dy: float = 0.0

    @property
    def prompt(self) -> str:
        """The sentence that describes this scene."""
        return f"{_noun(self)} on {article(self.background)} background"


def article(word: str) -> str:
    """Return ``word`` behind its indefinite article."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _noun(scene: Scene) -> str:
    return article(" ".join(word for word in (scene.size, scene.colour, scene.shape) if word))


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene by lot; the shape's colour always differs from the background's."""
    colour, background = rng.sample(list(COLOURS), 2)
    size = rng.choice(list(SIZES))
    dx, dy = rng.uniform(-JITTER, JITTER), rng.uniform(-JITTER, JITTER)
    return Scene(rng.choice(list(SHAPES)), colour, background, size, rng.uniform(*SIZES[size]), dx, dy)


def plain_background(colour: str) -> str:
    """Return the background of a picture whose prompt names none: white, or black behind a white shape."""
    return "black" if colour == "white" else "white"


def caption(scene: Scene, rng: random.Random) -> str:
    """Describe a scene in one of the ways that people would."""
    ways = [scene.prompt] * 6
    ways.append(f"{scene.colour} {scene.shape}, {scene.background} background")
    ways.append(f"a picture of {scene.prompt}")
    if scene.background == plain_background(scene.colour):
        ways += [_noun(scene)] * 4
    return rng.choice(ways)


def outline(scene: Scene, size: int = SIZE) -> Polygon:
    """Return the corners of the scene's shape in pixels of a picture ``size`` wide."""
    centre_x, centre_y = size * (0.5 + scene.dx), size * (0.5 + scene.dy)
    return [(centre_x + x * scene.radius * size, centre_y + y * scene.radius * size) for x, y in SHAPES[scene.shape]]


def draw(scene: Scene, size: int = SIZE, oversampling: int = 3) -> Image.Image:
    """Draw a scene, larger by ``oversampling`` and then shrunk, so that its edges are smooth."""
    large = size * oversampling
    picture = Image.new("RGB", (large, large), COLOURS[scene.background])
    ImageDraw.Draw(picture).polygon(outline(scene, large), fill=COLOURS[scene.colour])
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def nearest_colour(rgb: np.ndarray) -> str:
    """Return the colour word nearest to an RGB value (0 to 255)."""
    return min(COLOURS, key=lambda name: float(np.sum((np.array(COLOURS[name]) - rgb) ** 2)))


def centre_colour(picture: Image.Image) -> str:
    """Return the word for the median colour of the middle twelfth of a picture."""
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    height, width = pixels.shape[:2]
    half = max(1, width // 24)
    middle = pixels[height // 2 - half : height // 2 + half, width // 2 - half : width // 2 + half]
    return nearest_colour(np.median(middle.reshape(-1, 3), axis=0))


def border_colour(picture: Image.Image) -> str:
    """Return the word for the median colour of a picture's outermost thirty-second."""
    pixels = np.asarray(picture.convert("RGB"), dtype=float)
    edge = max(1, pixels.shape[1] // 32)
    strips = (pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:])
    return nearest_colour(np.median(np.concatenate([strip.reshape(-1, 3) for strip in strips]), axis=0))


@lru_cache(maxsize=1)
def _reference_masks(size: int = 48) -> tuple[list[str], np.ndarray]:
    """Return shape names and flat boolean masks (n, size * size) of every shape at many radii and places."""
    names, masks = [], []
    offsets = (-0.035, 0.0, 0.035)
    for shape, radius, dx, dy in itertools.product(SHAPES, np.linspace(0.16, 0.44, 15), offsets, offsets):
        mask = Image.new("1", (size, size))
        scene = Scene(shape, "black", "white", radius=float(radius), dx=dx, dy=dy)
        ImageDraw.Draw(mask).polygon(outline(scene, size), fill=1)
        names.append(shape)
        masks.append(np.asarray(mask, dtype=bool).ravel())
    return names, np.array(masks)


def shape_of(picture: Image.Image, colour: str, background: str) -> str:
    """Return the shape whose mask overlaps best (intersection over union) with the pixels nearer to ``colour``."""
    names, masks = _reference_masks()
    size = math.isqrt(masks.shape[1])
    pixels = np.asarray(picture.convert("RGB").resize((size, size)), dtype=float).reshape(-1, 3)
    shown = np.sum((pixels - COLOURS[colour]) ** 2, axis=1) < np.sum((pixels - COLOURS[background]) ** 2, axis=1)
    overlap = (masks & shown).sum(axis=1) / np.maximum(1, (masks | shown).sum(axis=1))
    return names[int(np.argmax(overlap))]
