"""The script X/Y/Z plot: a request for each combination of values, and a grid of their images."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from PIL import Image, ImageDraw

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.plots.values import MAX_CELLS, fixed_seeds, parse_orders, parse_values
from octabox.frontends.http.a1111.generation.schema import RANDOM, GenerationBody, ImageToImageBody
from octabox.frontends.http.a1111.options import CHECKPOINT, RESTORER, VAE
from octabox.frontends.http.a1111.scripts import AXES, PlotFlags, axis_name, split_arguments
from octabox.frontends.http.bodies import check_fields
from octabox.media.metadata.passes import parse_sides
from octabox.service.planning import MAX_RANDOM_SEED

#: Maximum pixels between images.
MAX_MARGIN = 500

#: Height of a line of the legend, and width of its column, in pixels.
LINE, COLUMN = 16, 120

#: Options by the names of axes.
OPTIONS = {"Checkpoint name": CHECKPOINT, "Clip skip": "CLIP_stop_at_last_layers", "VAE": VAE}

#: Values of the axis of faces that name no model.
SWITCHES = {"true": True, "false": False, "none": False, "": False}

#: The axis whose values replace its first one in the prompts, and those of seeds.
SEARCH, SEEDS = "Prompt S/R", ("Seed", "Var. seed")

#: Fields that values of axes change in part.
CHANGED = ("prompt", "negative_prompt", "styles")

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
        return min(max(int(self.flags.get("margin_size", 0)), 0), MAX_MARGIN)

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

    @property
    def size(self) -> int:
        """Number of combinations, which may be too many to list."""
        return math.prod(len(axis.values) for axis in self.axes)


def parse_plot(body: GenerationBody) -> Plot:
    """Return the plot of a request.

    Raises:
        RequestError: An argument is invalid, or there are too many combinations.
    """
    arguments, others = split_arguments(body.script_args)
    axes = []
    for kind, text, selected in arguments:
        name = axis_name(kind, is_img2img=isinstance(body, ImageToImageBody))
        values = tuple(map(str, selected)) if isinstance(selected, list) else ()
        values = values or parse_values(name, str(text or ""))
        values = parse_orders(values) if name == "Prompt order" else values
        axes.append(Axis(name, values if name != "Nothing" and values else ("",)))
    flags = check_fields(PlotFlags, others, "script_args.").model_dump()
    _check_searches(axes, body)
    if not flags["no_fixed_seeds"]:
        axes = [replace(each, values=fixed_seeds(each.values)) if each.name in SEEDS else each for each in axes]
    plot = Plot((axes[0], axes[1], axes[2]), flags)
    if plot.size > MAX_CELLS:
        raise InvalidParameterError(
            f"A plot may have 1 to {MAX_CELLS} images, not {plot.size}.", parameter="script_args"
        )
    return plot


def _check_searches(axes: Sequence[Axis], body: GenerationBody) -> None:
    """Check that what axes search for is in a prompt, or in what another axis replaces a part of it by.

    Raises:
        InvalidParameterError: It is not, so that all images would be equal.
    """
    searches = [axis for axis in axes if axis.name == SEARCH]
    for axis in searches:
        others = (value for each in searches if each is not axis for value in each.values)
        if not any(axis.values[0] in text for text in (body.prompt, body.negative_prompt, *others)):
            raise InvalidParameterError(
                f"'{SEARCH}' has not found {axis.values[0][:60]!r} in the prompt or the negative prompt.",
                hint="Its first value is the text that the others replace.",
                parameter="script_args",
            )


def _in_order(text: str, line: str) -> str:
    """Return a prompt with parts of it in another order, at the places that they have together."""
    parts = next(csv.reader(io.StringIO(line)), [])
    rest = iter(parts)
    pattern = "|".join(re.escape(each) for each in sorted(parts, key=len, reverse=True) if each)
    return re.sub(pattern, lambda match: next(rest, match[0]), text, count=len(parts)) if pattern else text


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
    return _with_seeds(made, seed=made.seed + offset) if offset and made.seed != RANDOM else made


def _change(axis: Axis, value: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a value of an axis changes which is not the value of a field itself."""
    if axis.name == SEARCH:
        return {name: now[name].replace(axis.values[0], value) for name in ("prompt", "negative_prompt")}
    if axis.name == "Prompt order":
        return {"prompt": _in_order(now["prompt"], value)}
    if axis.name == "Styles":
        return {"styles": [*now["styles"], *(each for each in value.split(",") if each)]}
    if axis.name == "Face restore":
        return {"restore_faces": SWITCHES[value.casefold()]}
    return dict(zip(("width", "height"), _size(value), strict=True))


def with_fixed_seed(body: Body, plot: Plot) -> Body:
    """Return a request whose seeds are the same for all combinations, unless the plot has other settings."""
    if plot.flags["no_fixed_seeds"]:
        return body
    missing = [name for name in ("seed", "subseed") if getattr(body, name) == RANDOM]
    return _with_seeds(body, **{name: secrets.randbelow(MAX_RANDOM_SEED) for name in missing})


def _with_seeds(body: Body, **seeds: int) -> Body:
    """Return a request with other seeds."""
    copy = body.model_copy(update=seeds)
    copy.model_fields_set.update(seeds)
    return copy


def _size(text: str) -> tuple[int, int]:
    sides = parse_sides("".join(text.lower().split()))
    if not sides:
        raise InvalidParameterError(f"'{text[:60]}' is not a size such as 512x512.", parameter="script_args")
    return sides["width"], sides["height"]


def draw_grid(plot: Plot, images: Sequence[Image.Image | None]) -> Image.Image:
    """Return the grid of the images of all combinations, with the values next to them; None leaves a place blank."""
    x, y, z = plot.axes
    width, height = (max(sides) for sides in zip(*(each.size for each in images if each is not None), strict=True))
    has_legend = bool(plot.flags["draw_legend"])
    left, top = (COLUMN, LINE) if has_legend else (0, 0)
    rows = len(y.values) * len(z.values)
    margin = plot.margin
    size = (left + (width + margin) * len(x.values) - margin, top + (height + margin) * rows - margin)
    grid = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(grid)
    for index, image in enumerate(images):
        row, column = divmod(index, len(x.values))
        if image is None:
            continue
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
