"""The ControlNets of a model, and the control images and call parameters of the units of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from octabox.catalog.conditions.control import ControlInputs, control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, MissingParameterError, OctaboxError
from octabox.frontends.http.a1111.controlnet.preprocessors import find_preprocessor
from octabox.frontends.http.a1111.controlnet.units import CONTROL, MODES, Pass, Unit
from octabox.frontends.http.a1111.images import read_image, resize
from octabox.frontends.http.a1111.modules import component_sources, modules_of
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png, read_size
from octabox.media.limits import check_output_size
from octabox.service.protocols import Models
from octabox.types import Source

#: Values of a unit's model for the only one of the checkpoint.
ANY_MODEL = frozenset({"", "none"})

#: The preprocessor that leaves an image as it is.
NO_PREPROCESSOR = "none"

#: Values up to which and from which on a mask has nothing drawn on it, in the extension.
NEARLY_BLACK, NEARLY_WHITE = 5, 250

#: Parameter of diffusers for a ControlNet that is more important than the prompt.
GUESS_MODE = "guess_mode"


def control_models(models: Models) -> dict[str, tuple[str, ...]]:
    """Return the ControlNets of each model that has some, in the order of its images."""
    found = {}
    for info in models.list():
        try:
            served = models.resolve(info.name)
        except OctaboxError:
            continue  # Its use reports it.
        entries = (control_inputs(entry) for entry in served.family(models.catalog))
        names = {control.component.name for control in entries if control.component}
        parts = [sources for name, sources in component_sources(served.config).items() if name in names]
        if parts:
            found[info.name] = parts[0]
    return found


@dataclass(frozen=True)
class Control:
    """The ControlNets of a request.

    Args:
        model: Name of the model that has them.
        units: The units in the order of the model's ControlNets; None for one that is not used.
        warnings: Fields without effect.
        pairs: Descriptions of the units for an infotext, in the order of the request.
    """

    model: str = ""
    units: tuple[Unit | None, ...] = ()
    warnings: tuple[str, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)

    def maps(self, files: Sequence[Source]) -> tuple[bytes, ...]:
        """Return those of the control images that are to follow the result."""
        pairs = zip(self.units, files, strict=True)
        return tuple(file for unit, file in pairs if unit and unit.save_detected_map and isinstance(file, bytes))

    @property
    def has_passes(self) -> bool:
        """Whether a unit has an effect in one of two passes alone."""
        return any(each and each.passes for each in self.units)

    def in_pass(self, which: Pass) -> Control:
        """Return the ControlNets with the weights that they have in a pass of two."""
        return replace(self, units=tuple(each and each.in_pass(which) for each in self.units))

    def second_params(self, entry: PipelineEntry) -> dict[str, Any]:
        """Return the call parameters of the pipeline of a second pass that differ from those of the first."""
        first, second = (_params(control_inputs(entry), entry, self.in_pass(each).units)[0] for each in Pass)
        return {name: value for name, value in second.items() if first.get(name) != value}

    async def prepare(
        self, ctx: AppContext, entry: PipelineEntry, size: tuple[int | None, int | None], source: bytes | None
    ) -> tuple[tuple[Source, ...], dict[str, Any], tuple[str, ...]]:
        """Return the control images, the call parameters, and warnings.

        Args:
            ctx: Collaborators of the routes.
            entry: The pipeline.
            size: Width and height of a result without a source image, if the request has them.
            source: The source image, which is the default of control images, and has the size of the result.

        Raises:
            RequestError: An image is missing or invalid, or the size exceeds the limit.
        """
        images = [await _control_image(ctx, unit, size, source) if unit is not None else None for unit in self.units]
        made = [each for each in images if each is not None]
        blank = Image.new("RGB", made[0].size)
        files = [await asyncio.to_thread(encode_png, each or blank) for each in images]
        params, warnings = _params(control_inputs(entry), entry, self.units)
        return tuple(files), params, warnings


def find_control(models: Models, model: str, units: Sequence[Unit], warnings: tuple[str, ...]) -> Control:
    """Return the ControlNets of units: those of the model, or of another one with the same source that has them.

    Raises:
        InvalidParameterError: There is no such ControlNet for the model.
    """
    known = control_models(models)
    source, modules = models.get(model).source, set(modules_of(models.resolve(model)))
    same = [name for name in known if name == model or models.get(name).source == source]
    lost = {name: modules - set(modules_of(models.resolve(name))) for name in same}
    for name in sorted(same, key=lambda each: (each != model, len(lost[each]), len(known[each]))):
        placed = _placed(units, known[name])
        if placed is not None:
            names = sorted(each.name for each in lost[name])
            notes = (
                f"The module '{each}' has no effect: '{name}', which has the ControlNet, lacks it." for each in names
            )
            pairs = {f"ControlNet {index}": unit.describe() for index, unit in enumerate(units)}
            return Control(name, placed, (*warnings, *notes), pairs)
    choices = sorted({each for name in same for each in known[name]})
    requested = ", ".join(unit.model for unit in units)
    raise InvalidParameterError(
        f"The model '{model}' has no ControlNet '{requested}'.",
        hint=f"It has {', '.join(choices)}." if choices else "Add one to `components` of its configuration.",
        parameter="alwayson_scripts.controlnet.model",
        choices=choices,
    )


def _placed(units: Sequence[Unit], names: Sequence[str]) -> tuple[Unit | None, ...] | None:
    """Return units in the order of ControlNets; None if one is missing."""
    placed: list[Unit | None] = [None] * len(names)
    for unit in units:
        requested = unit.model.partition(" [")[0].strip().casefold()
        free = (i for i, name in enumerate(names) if placed[i] is None and requested in (name.casefold(), *ANY_MODEL))
        index = next((i for i in free if requested not in ANY_MODEL or len(names) == len(units)), None)
        if index is None:
            return None
        placed[index] = unit
    return tuple(placed)


async def _control_image(
    ctx: AppContext, unit: Unit, size: tuple[int | None, int | None], source: bytes | None
) -> Image.Image:
    """Return the control image of a unit: of its mask, its own image or the source image, at the size of the result."""
    module, drawn = find_preprocessor(unit.module)[0], await _drawn_lines(ctx, unit)
    if drawn is not None:
        # The extension does not preprocess what is drawn either.
        image, module = drawn, NO_PREPROCESSOR
    elif unit.source:
        image = await read_image(ctx, unit.source, "alwayson_scripts.controlnet.image")
    elif source:
        decoded = await ctx.decoder.decode("image", source, parameter="init_images")
        assert isinstance(decoded, Image.Image)  # noqa: S101 (of that kind)
        image = decoded
    else:
        raise MissingParameterError(
            "A unit of ControlNet has no image.", hint="Send `image`.", parameter="alwayson_scripts.controlnet.image"
        )
    target = read_size(source) if source else (size[0] or image.width, size[1] or image.height)
    # Before it is resized: the request has not been planned yet, which would refuse the size.
    check_output_size(target, ctx.settings.max_image_pixels, "width")
    image = await asyncio.to_thread(resize, image, target, unit.resize_number)
    resolution = -1 if unit.pixel_perfect else unit.processor_res
    made = await asyncio.to_thread(preprocess, image, module, resolution, unit.threshold_a, unit.threshold_b)
    return made if made.size == image.size else made.resize(image.size)


async def _drawn_lines(ctx: AppContext, unit: Unit) -> Image.Image | None:
    """Return the mask of a unit as its control image; None for one that is black or white throughout, and without one.

    Raises:
        MediaError: It cannot be decoded.
    """
    if not unit.mask:
        return None
    image = await read_image(ctx, unit.mask, "alwayson_scripts.controlnet.mask")
    lines = image.convert("RGB").getchannel(0)
    values = np.asarray(lines)
    is_blank = values.max() <= NEARLY_BLACK or values.min() >= NEARLY_WHITE
    return None if is_blank else lines.convert("RGB")


def preprocess(image: Image.Image, module: str, resolution: int, low: float, high: float) -> Image.Image:
    """Return the control image that a preprocessor makes.

    Args:
        image: The image.
        module: Name of the preprocessor.
        resolution: Length of the shorter side at which it works; -1 is that of the image.
        low: Its first threshold, within its range; -1 is the default.
        high: Its second threshold, likewise.

    Raises:
        InvalidParameterError: There is no such preprocessor.
    """
    name, preprocessor = find_preprocessor(module)
    ranges = [(default, least, most) for _, default, least, most in preprocessor.sliders]
    values = [
        min(max(value, least), most) if value >= 0 else default
        for value, (default, least, most) in zip((low, high), [*ranges, *[(0.0, 0.0, 0.0)] * 2], strict=False)
    ]
    if name != NO_PREPROCESSOR and 0 < resolution < min(image.size):
        factor = resolution / min(image.size)
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)
    return preprocessor.apply(image, values[0], values[1])


def _params(
    control: ControlInputs, entry: PipelineEntry, units: Sequence[Unit | None]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the call parameters for weights, spans and modes, and warnings about those that the pipeline lacks."""
    values = {
        "weight": [each.weight if each else 0.0 for each in units],
        "guidance_start": [each.guidance_start if each else 0.0 for each in units],
        "guidance_end": [each.guidance_end if each else 1.0 for each in units],
    }
    names = {
        "guidance_start": next((each.name for each in control.scales if each.name.endswith("_start")), None),
        "guidance_end": next((each.name for each in control.scales if each.name.endswith("_end")), None),
        "weight": next((each.name for each in control.scales if each.name.endswith("_scale")), None),
    }
    neutral = {"weight": 1.0, "guidance_start": 0.0, "guidance_end": 1.0}
    params: dict[str, Any] = {}
    warnings: list[str] = []
    for setting, numbers in values.items():
        name = names[setting]
        if name is not None:
            params[name] = numbers if len(numbers) > 1 else numbers[0]
        elif any(number != neutral[setting] for number in numbers):
            warnings.append(f"'controlnet.{setting}' has no effect: {entry.name} has no such parameter.")
    if any(each and each.mode == MODES.index(CONTROL) for each in units):
        if entry.parameter(GUESS_MODE):
            params[GUESS_MODE] = True
        else:
            warnings.append(f"'controlnet.control_mode' has no effect: {entry.name} has no such mode.")
    return params, tuple(warnings)
