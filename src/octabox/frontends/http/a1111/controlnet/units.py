"""The units of ControlNet in a request: their images, weights and spans."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import Field, model_validator

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.fields import Count, LenientModel, Number, asks_for_something
from octabox.frontends.http.a1111.images import RESIZE_ALIASES, RESIZE_LABELS, RESIZE_MODES
from octabox.frontends.http.bodies import check_fields

#: Name of the script.
SCRIPT = "controlnet"

#: Names of control modes by number.
MODE_LABELS = ("Balanced", "My prompt is more important", "ControlNet is more important")
MODES = BALANCED, PROMPT, CONTROL = tuple(label.casefold() for label in MODE_LABELS)

#: The same by the names of the members of the extension's Python class.
MODE_ALIASES = {"prompt": MODES.index(PROMPT), "control": MODES.index(CONTROL)}


class Pass(Enum):
    """A pass of two; its value is the option of a unit that has an effect in it alone."""

    FIRST = "low res only"
    SECOND = "high res only"


#: Options of a unit for the passes in which it has an effect, by number.
PASSES = ("both", *(each.value for each in Pass))

#: Fields that an infotext describes, in the order of the extension; those of -1 have defaults of their preprocessors.
DESCRIBED = (
    *("module", "model", "weight", "resize_mode", "processor_res", "threshold_a", "threshold_b"),
    *("guidance_start", "guidance_end", "pixel_perfect", "control_mode", "hr_option"),
)


class Unit(LenientModel):
    """A ControlNet with its image."""

    enabled: bool = Field(default=True, description="Whether it has an effect.")
    image: str | dict[str, Any] | None = Field(None, description="Image in base64; default: the source image.")
    input_image: str | None = Field(None, description="Older name of `image`.")
    mask: str | None = Field(None, description="White lines on black, which are the control image.")
    module: str = Field("none", description="Preprocessor of the image.")
    model: str = Field("None", description="The ControlNet; None is the only one of the model.")
    weight: Number = Field(1.0, description="Scale of the control.")
    resize_mode: str | Count = Field(1, description="0 stretches the image, 1 crops it, 2 continues its edges.")
    low_vram: bool = Field(default=False, description="No effect.")
    processor_res: Count = Field(-1, description="Size at which the preprocessor works.")
    threshold_a: Number = Field(-1, description="First threshold of the preprocessor.")
    threshold_b: Number = Field(-1, description="Second threshold of the preprocessor.")
    guidance_start: Number = Field(0.0, description="Fraction of the steps at which the control begins.")
    guidance_end: Number = Field(1.0, description="Fraction of the steps at which it ends.")
    control_mode: str | Count = Field(0, description="0 balanced, 2 more important than the prompt.")
    pixel_perfect: bool = Field(default=False, description="Whether the preprocessor works at the size of the result.")
    hr_option: str | Count = Field("Both", description="Both, Low res only or High res only: passes with the control.")
    save_detected_map: bool = Field(default=False, description="Whether the control image follows those of the result.")

    @model_validator(mode="before")
    @classmethod
    def _image_of_object(cls, value: Any) -> Any:
        """Accept an object with the image and its mask."""
        image = value.get("image") if isinstance(value, Mapping) else None
        if not isinstance(image, Mapping):
            return value
        return {**value, "image": image.get("image"), "mask": value.get("mask") or image.get("mask")}

    @property
    def source(self) -> str | None:
        """The image."""
        text = self.image or self.input_image
        return text if isinstance(text, str) else None

    @property
    def resize_number(self) -> int:
        """The number of the resize mode.

        Raises:
            InvalidParameterError: There is no such mode.
        """
        return _number(self.resize_mode, RESIZE_MODES, "resize_mode", RESIZE_ALIASES)

    @property
    def mode(self) -> int:
        """The number of the control mode.

        Raises:
            InvalidParameterError: There is no such mode.
        """
        names = {name: index for index, name in enumerate(MODES)}
        return _number(self.control_mode, names, "control_mode", MODE_ALIASES)

    @property
    def passes(self) -> int:
        """The number of the passes in which it has an effect.

        Raises:
            InvalidParameterError: There is no such option.
        """
        return _number(self.hr_option or 0, {name: index for index, name in enumerate(PASSES)}, "hr_option")

    def describe(self) -> str:
        """Return its description in an infotext, as the extension writes and reads it.

        Raises:
            InvalidParameterError: There is no such mode.
        """
        values = {name: getattr(self, name) for name in DESCRIBED} | {
            "resize_mode": RESIZE_LABELS[self.resize_number],
            "control_mode": MODE_LABELS[self.mode],
            "hr_option": PASSES[self.passes].capitalize(),
        }
        return ", ".join(f"{name.replace('_', ' ').title()}: {each}" for name, each in values.items() if each != -1)

    def in_pass(self, which: Pass) -> Unit:
        """Return it with a weight of 0 if it has no effect in a pass."""
        is_off = self.passes not in (0, PASSES.index(which.value))
        return self.model_copy(update={"weight": 0.0}) if is_off else self


def _number(value: str | int, names: Mapping[str, int], field: str, aliases: Mapping[str, int] | None = None) -> int:
    """Return the number of a mode by its name, its number, or the name of an enum's member, such as ResizeMode.INNER_FIT."""
    number: int | None = None
    if isinstance(value, str):
        text = value.rpartition(".")[2].replace("_", " ").strip().casefold()
        numbers = {str(each): each for each in names.values()}
        number = {**numbers, **(aliases or {}), **names}.get(text)
    elif value in names.values():
        number = value
    if number is None:
        raise InvalidParameterError(
            f"'{field}' must be one of {', '.join(names)}, not {value!r}.", parameter=field, choices=list(names)
        )
    return number


def parse_units(scripts: Mapping[str, Any]) -> tuple[tuple[Unit, ...], tuple[str, ...]]:
    """Return the units of a request that are enabled, and a warning for each script whose arguments have no effect.

    Raises:
        RequestError: A field of a unit has an invalid value.
    """
    units: list[Unit] = []
    warnings: list[str] = []
    for name, script in scripts.items():
        args = script.get("args", script) if isinstance(script, Mapping) else script
        if name.strip().casefold() != SCRIPT:
            if asks_for_something(args):
                warnings.append(f"The script '{name[:60]}' has no effect: there is only ControlNet.")
            continue
        fields = _fields_of_units(args)
        if not fields and asks_for_something(args):
            warnings.append(f"The script '{name[:60]}' has no effect: its arguments have no unit.")
        units += [check_fields(Unit, each, "alwayson_scripts.controlnet.") for each in fields]
    enabled = tuple(each for each in units if each.enabled)
    return enabled, (*warnings, *(text for each in enabled for text in _unit_warnings(each)))


def _fields_of_units(args: Any) -> list[Mapping[str, Any]]:
    """Return the fields of each unit: of a list of them, of an object with some, or of a single one.

    Raises:
        InvalidParameterError: A unit is not an object.
    """
    if isinstance(args, Mapping):
        values = list(args.values())
        args = values if all(isinstance(each, Mapping) for each in values) else [args]
    # Older clients send the flags of the extension's own page before the units.
    found = (
        [each for each in args if each is not None and not isinstance(each, bool)] if isinstance(args, list) else [args]
    )
    found = [] if args is None else found
    for each in found:
        if not isinstance(each, Mapping):
            raise InvalidParameterError(
                f"A unit of ControlNet is an object with its fields, not {str(each)[:60]!r}.",
                hint='Such as {"args": [{"image": "..."}]}.',
                parameter="alwayson_scripts.controlnet",
            )
    return found


def _unit_warnings(unit: Unit) -> list[str]:
    """Return a warning for each field of a unit without effect."""
    # Clients of other versions of the extension send fields that ask for nothing.
    unknown = [name for name, value in unit.unknown.items() if value]
    warnings = [f"'controlnet.{name[:60]}' has no effect: there is no such field." for name in unknown]
    if unit.low_vram:
        warnings.append("'controlnet.low_vram' has no effect: the memory mode is a setting of the model.")
    if unit.mode == MODES.index(PROMPT):
        warnings.append(f"'controlnet.control_mode' has no effect as '{PROMPT}': lower the weight.")
    return warnings
