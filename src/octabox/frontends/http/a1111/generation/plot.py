"""The script X/Y/Z plot: a request for each combination of values, and a grid of their images."""

from __future__ import annotations

import csv
import io
import itertools
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.schema import RANDOM, GenerationBody, ImageToImageBody
from octabox.frontends.http.a1111.options import CHECKPOINT, RESTORER, VAE
from octabox.frontends.http.a1111.scripts import AXES, FLAGS, axis_name
from octabox.frontends.http.bodies import check_fields
from octabox.service.planning import MAX_RANDOM_SEED

#: Maximum number of combinations.
MAX_CELLS = 100

#: Maximum pixels between images.
MAX_MARGIN = 500

#: Height of a line of the legend, and width of its column, in pixels.
LINE, COLUMN = 16, 120

#: Axes whose values are numbers, which may be ranges.
NUMBERS = frozenset({"Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale"}) | {
    "Eta",
    "Clip skip",
    "Denoising",
    *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Initial noise multiplier", "Refiner switch at"),
}

#: Options by the names of axes.
OPTIONS = {"Checkpoint name": CHECKPOINT, "Clip skip": "CLIP_stop_at_last_layers", "VAE": VAE}

#: Values of the axis of faces that name no model.
SWITCHES = {"true": True, "false": False, "none": False, "": False}

#: Fields that values of axes change in part.
CHANGED = ("prompt", "negative_prompt", "styles")

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

    @property
    def margin(self) -> int:
        """Pixels between images."""
        value = self.flags.get("margin_size")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 0
        return min(max(int(value), 0), MAX_MARGIN)

    def seed_offset(self, index: int) -> int:
        """Return what is added to the seed of a combination by its index, where an axis has its own seeds."""
        x, y, z = (len(axis.values) for axis in self.axes)
        offset, factor = 0, 1
        for name, count, position in zip("xyz", (x, y, z), (index % x, index // x % y, index // (x * y)), strict=True):
            if self.flags.get(f"vary_seeds_{name}"):
                offset, factor = offset + position * factor, factor * count
        return offset

    def planes(self) -> list[Plot]:
        """Return the plot of each value of z."""
        x, y, z = self.axes
        return [replace(self, axes=(x, y, replace(z, values=(value,)))) for value in z.values]

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
        values = tuple(map(str, selected)) if isinstance(selected, list) else ()
        values = values or _values(name, str(text or ""))
        values = _orders(values) if name == "Prompt order" else values
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
    numbers = (number for part in parts if part for number in _range(part))
    return tuple(str(int(number)) if number.is_integer() else f"{number:g}" for number in numbers)


def _orders(parts: Sequence[str]) -> tuple[str, ...]:
    """Return all orders of parts of a prompt, each as a line of comma-separated values."""
    found = []
    for order in itertools.islice(itertools.permutations(parts), MAX_CELLS + 1):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(order)
        found.append(line.getvalue())
    return tuple(found)


def _in_order(text: str, line: str) -> str:
    """Return a prompt with parts of it in another order, at the places that they have together."""
    parts = next(csv.reader(io.StringIO(line)), [])
    rest = iter(parts)
    pattern = "|".join(re.escape(each) for each in sorted(parts, key=len, reverse=True) if each)
    return re.sub(pattern, lambda match: next(rest, match[0]), text, count=len(parts)) if pattern else text


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


def cell_body(body: Body, plot: Plot, values: Sequence[str], index: int = 0) -> Body:
    """Return the request of a combination.

    Args:
        body: The request for the plot.
        plot: The plot.
        values: The values of the axes.
        index: Index of the combination.

    Raises:
        RequestError: A value is invalid for its field.
    """
    changes: dict[str, Any] = {"script_name": "", "force_task_id": None, "do_not_save_grid": True}
    settings = dict(body.override_settings)
    for axis, value in zip(plot.axes, values, strict=True):
        if AXES[axis.name]:
            changes[AXES[axis.name]] = value
        elif axis.name in OPTIONS:
            settings[OPTIONS[axis.name]] = value
        elif axis.name == "Face restore" and value.casefold() not in SWITCHES:
            changes["restore_faces"], settings[RESTORER] = True, value
        elif axis.name != "Nothing":
            changes |= _change(axis, value, {name: changes.get(name, getattr(body, name)) for name in CHANGED})
    sent = {name: getattr(body, name) for name in body.model_fields_set if name in type(body).model_fields}
    fields = {**sent, **body.unknown, **changes, "override_settings": settings}
    made, offset = check_fields(type(body), fields), plot.seed_offset(index)
    return _with_seed(made, made.seed + offset) if offset and made.seed != RANDOM else made


def _change(axis: Axis, value: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a value of an axis changes which is not the value of a field itself."""
    if axis.name == "Prompt S/R":
        return {name: now[name].replace(axis.values[0], value) for name in ("prompt", "negative_prompt")}
    if axis.name == "Prompt order":
        return {"prompt": _in_order(now["prompt"], value)}
    if axis.name == "Styles":
        return {"styles": [*now["styles"], *(each for each in value.split(",") if each)]}
    if axis.name == "Face restore":
        return {"restore_faces": SWITCHES[value.casefold()]}
    return dict(zip(("width", "height"), _size(value), strict=True))


def with_fixed_seed(body: Body, plot: Plot) -> Body:
    """Return a request whose seed is the same for all combinations, unless the plot has other settings."""
    if body.seed != RANDOM or plot.flags["no_fixed_seeds"]:
        return body
    return _with_seed(body, secrets.randbelow(MAX_RANDOM_SEED))


def _with_seed(body: Body, seed: int) -> Body:
    """Return a request with another seed."""
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
    margin = plot.margin
    size = (left + (width + margin) * len(x.values) - margin, top + (height + margin) * rows - margin)
    grid = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(grid)
    for index, image in enumerate(images):
        row, column = divmod(index, len(x.values))
        grid.paste(image, (left + column * (width + margin), top + row * (height + margin)))
    if has_legend:
        for column, value in enumerate(x.values):
            draw.text((left + column * (width + margin), 0), _label(x, value, width), fill="black")
        for row in range(rows):
            texts = (
                _label(y, y.values[row % len(y.values)], COLUMN),
                _label(z, z.values[row // len(y.values)], COLUMN),
            )
            draw.text((0, top + row * (height + margin)), "\n".join(filter(None, texts)), fill="black")
    return grid


def _label(axis: Axis, value: str, width: int) -> str:
    """Return the text of a value, as far as there is room for it."""
    text = f"{axis.name}: {value}" if axis.name != "Nothing" else ""
    return text.encode("latin-1", "replace").decode("latin-1")[: max(width // 6, 1)]
