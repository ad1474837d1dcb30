"""The script X/Y/Z plot: a request for each combination of values, and a grid of their images."""

from __future__ import annotations

import csv
import io
import itertools
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.schema import RANDOM, GenerationBody, ImageToImageBody
from octabox.frontends.http.a1111.options import CHECKPOINT
from octabox.frontends.http.a1111.scripts import AXES, FLAGS, axis_name
from octabox.frontends.http.bodies import check_fields
from octabox.service.planning import MAX_RANDOM_SEED

#: Maximum number of combinations.
MAX_CELLS = 100

#: Height of a line of the legend, and width of its column, in pixels.
LINE, COLUMN = 16, 120

#: Axes whose values are numbers, which may be ranges.
NUMBERS = frozenset({"Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale"}) | {
    "Eta",
    "Clip skip",
    "Denoising",
    *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Initial noise multiplier", "Refiner switch at"),
}

_NUMBER = r"\s*([+-]?\d+(?:\.\d*)?)\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\(([+-]\d+(?:\.\d*)?)\s*\))?\s*")
_COUNT = re.compile(rf"{_NUMBER}-{_NUMBER}\[(\d+)\s*\]\s*")

Body = TypeVar("Body", bound=GenerationBody)


@dataclass(frozen=True)
class Axis:
    """An axis.

    Args:
        name: Its name.
        values: Its values.
    """

    name: str
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Plot:
    """A plot.

    Args:
        axes: The axes x, y and z.
        flags: The other arguments.
    """

    axes: tuple[Axis, Axis, Axis]
    flags: dict[str, Any]

    def cells(self) -> list[tuple[str, ...]]:
        """Return the values of all combinations: those of x change first, those of z last."""
        x, y, z = self.axes
        return [(a, b, c) for c, b, a in itertools.product(z.values, y.values, x.values)]


def parse_plot(body: GenerationBody) -> Plot:
    """Return the plot of a request.

    Raises:
        InvalidParameterError: An argument is invalid, or there are too many combinations.
    """
    args, is_img2img = body.script_args, isinstance(body, ImageToImageBody)
    axes = []
    for start in (0, 3, 6):
        kind, text, selected = ([*args, *[None] * 9])[start : start + 3]
        name = axis_name(kind, is_img2img=is_img2img)
        values = (
            tuple(map(str, selected)) if isinstance(selected, list) and selected else _values(name, str(text or ""))
        )
        axes.append(Axis(name, values if name != "Nothing" and values else ("",)))
    flags = dict(zip(FLAGS, args[9:], strict=False))
    plot = Plot((axes[0], axes[1], axes[2]), {**FLAGS, **flags})
    if len(plot.cells()) > MAX_CELLS:
        raise InvalidParameterError(
            f"A plot may have 1 to {MAX_CELLS} images, not {len(plot.cells())}.", parameter="script_args"
        )
    return plot


def _values(name: str, text: str) -> tuple[str, ...]:
    """Return the values of an axis: separated by commas, with ranges if they are numbers."""
    parts = [part.strip() for part in next(csv.reader(io.StringIO(text), skipinitialspace=True), [])]
    if name not in NUMBERS:
        return tuple(parts)
    return tuple(f"{number:g}" for part in parts if part for number in _range(part))


def _range(text: str) -> Iterator[float]:
    """Yield the numbers of a range: ``1-5``, ``1-5 (+2)``, ``0-10 [5]``, or one number.

    Raises:
        InvalidParameterError: The text is not a range.
    """
    if match := _COUNT.fullmatch(text):
        yield from np.linspace(float(match[1]), float(match[2]), min(int(match[3]), MAX_CELLS + 1)).tolist()
        return
    if match := _RANGE.fullmatch(text):
        start, end, step = float(match[1]), float(match[2]), float(match[3] or 1)
        count = int((end - start) / step + 1e-6) + 1 if step and (end - start) * step >= 0 else 0
        yield from (start + index * step for index in range(min(count, MAX_CELLS + 1)))
        return
    try:
        yield float(text)
    except ValueError:
        hint = "Separate values by commas, such as 1, 2, 3, or write a range such as 1-5 (+2)."
        raise InvalidParameterError(f"'{text[:60]}' is not a number.", hint=hint, parameter="script_args") from None


def cell_body(body: Body, plot: Plot, values: Sequence[str]) -> Body:
    """Return the request of a combination.

    Raises:
        RequestError: A value is invalid for its field.
    """
    changes: dict[str, Any] = {"script_name": "", "force_task_id": None}
    settings = dict(body.override_settings)
    for axis, value in zip(plot.axes, values, strict=True):
        if axis.name == "Nothing":
            continue
        if AXES[axis.name]:
            changes[AXES[axis.name]] = value
        elif axis.name == "Prompt S/R":
            for name in ("prompt", "negative_prompt"):
                text = changes.get(name, getattr(body, name))
                changes[name] = text.replace(axis.values[0], value)
        elif axis.name == "Checkpoint name":
            settings[CHECKPOINT] = value
        elif axis.name == "Clip skip":
            settings["CLIP_stop_at_last_layers"] = value
        elif axis.name == "Styles":
            changes["styles"] = [*body.styles, *(each for each in value.split(",") if each)]
        else:
            changes["width"], changes["height"] = _size(value)
    sent = {name: getattr(body, name) for name in body.model_fields_set if name in type(body).model_fields}
    fields = {**sent, **body.unknown, **changes, "override_settings": settings}
    return check_fields(type(body), fields)


def with_fixed_seed(body: Body, plot: Plot) -> Body:
    """Return a request whose seed is the same for all combinations, unless the plot has other settings."""
    if body.seed != RANDOM or plot.flags["no_fixed_seeds"]:
        return body
    seed = secrets.randbelow(MAX_RANDOM_SEED)
    copy = body.model_copy(update={"seed": seed})
    copy.model_fields_set.add("seed")
    return copy


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.strip().lower().partition("x")
    if not (width.strip().isdigit() and height.strip().isdigit()):
        raise InvalidParameterError(f"'{text[:60]}' is not a size such as 512x512.", parameter="script_args")
    return int(width), int(height)


def draw_grid(plot: Plot, images: Sequence[Image.Image]) -> Image.Image:
    """Return the grid of the images of all combinations, with the values next to them."""
    x, y, z = plot.axes
    width, height = (max(sides) for sides in zip(*(each.size for each in images), strict=True))
    has_legend = bool(plot.flags["draw_legend"])
    left, top = (COLUMN, LINE) if has_legend else (0, 0)
    rows = len(y.values) * len(z.values)
    grid = Image.new("RGB", (left + width * len(x.values), top + height * rows), "white")
    draw = ImageDraw.Draw(grid)
    for index, image in enumerate(images):
        row, column = divmod(index, len(x.values))
        grid.paste(image, (left + column * width, top + row * height))
    if has_legend:
        for column, value in enumerate(x.values):
            draw.text((left + column * width, 0), _label(x, value, width), fill="black")
        for row in range(rows):
            texts = (
                _label(y, y.values[row % len(y.values)], COLUMN),
                _label(z, z.values[row // len(y.values)], COLUMN),
            )
            draw.text((0, top + row * height), "\n".join(filter(None, texts)), fill="black")
    return grid


def _label(axis: Axis, value: str, width: int) -> str:
    """Return the text of a value, as far as there is room for it."""
    text = f"{axis.name}: {value}" if axis.name != "Nothing" else ""
    return text.encode("latin-1", "replace").decode("latin-1")[: max(width // 6, 1)]
