"""The names and arguments of the scripts of the web UI that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import model_validator

from octabox.errors import InvalidParameterError, nearest
from octabox.frontends.http.a1111.fields import LenientModel, Number

#: The script that generates an image for each combination of values.
PLOT = "x/y/z plot"

#: Fields of requests by the names of axes; an empty one is not a field itself.
AXES = {
    "Nothing": "",
    "Seed": "seed",
    "Var. seed": "subseed",
    "Var. strength": "subseed_strength",
    "Steps": "steps",
    "Hires steps": "hr_second_pass_steps",
    "CFG Scale": "cfg_scale",
    "Image CFG Scale": "image_cfg_scale",
    "Prompt S/R": "",
    "Prompt order": "",
    "Sampler": "sampler_name",
    "Hires sampler": "hr_sampler_name",
    "Schedule type": "scheduler",
    "Checkpoint name": "",
    "Sigma Churn": "s_churn",
    "Sigma min": "s_tmin",
    "Sigma max": "s_tmax",
    "Sigma noise": "s_noise",
    "Eta": "eta",
    "Clip skip": "",
    "Denoising": "denoising_strength",
    "Initial noise multiplier": "initial_noise_multiplier",
    "Refiner checkpoint": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Hires upscaler": "hr_upscaler",
    "VAE": "",
    "Face restore": "",
    "Styles": "",
    "Size": "",
}

#: Names of axes by number, in the order of the web UI: that of ``txt2img`` and that of ``img2img``.
_FIRST = ("Nothing", "Seed", "Var. seed", "Var. strength", "Steps")
_REST = (
    "Prompt S/R",
    "Prompt order",
    "Sampler",
    "Checkpoint name",
    "Sigma Churn",
    "Sigma min",
    "Sigma max",
    "Sigma noise",
)
NUMBERED = {
    False: (
        *_FIRST,
        "Hires steps",
        "CFG Scale",
        *_REST,
        "Eta",
        "Clip skip",
        "Denoising",
        "Hires upscaler",
        "VAE",
        "Styles",
    ),
    True: (
        *_FIRST,
        "CFG Scale",
        "Image CFG Scale",
        *_REST,
        "Eta",
        "Clip skip",
        "Denoising",
        "Cond. Image Mask Weight",
        "VAE",
        "Styles",
    ),
}


class PlotFlags(LenientModel):
    """The arguments of a plot after its three axes, in their order; an empty text is the default."""

    draw_legend: bool = True
    include_lone_images: bool = False
    include_sub_grids: bool = False
    no_fixed_seeds: bool = False
    vary_seeds_x: bool = False
    vary_seeds_y: bool = False
    vary_seeds_z: bool = False
    margin_size: Number = 0
    csv_mode: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        """Drop arguments that are an empty text."""
        return {name: each for name, each in value.items() if each != ""} if isinstance(value, Mapping) else value


#: The arguments after the axes that older versions of the web UI have.
OLDER_FLAGS = tuple(name for name in PlotFlags.model_fields if not name.startswith("vary_seeds"))

#: Numbers of arguments of an axis: its name, its values, and its values as a list, which the oldest versions do not have.
WITH_LIST, WITHOUT_LIST = 3, 2


def split_arguments(args: Sequence[Any]) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """Return the arguments of each axis of a plot, and the others by name, in the form of any version of the web UI."""
    # The oldest form has a flag where the others have the name of an axis.
    is_oldest = len(args) == 3 * WITHOUT_LIST + len(OLDER_FLAGS) - 1 and _is_flag(args[3 * WITHOUT_LIST])
    width = WITHOUT_LIST if is_oldest else WITH_LIST
    rest = args[3 * width :]
    margin = OLDER_FLAGS.index("margin_size")
    # Older forms have a number where newer ones have a flag.
    is_older = margin < len(rest) <= len(OLDER_FLAGS) and not _is_flag(rest[margin])
    names = OLDER_FLAGS if is_older else PlotFlags.model_fields
    padded = [*args, *[None] * 3 * width]
    axes = [(*padded[start : start + width], None)[:WITH_LIST] for start in range(0, 3 * width, width)]
    return axes, dict(zip(names, rest, strict=False))


def _is_flag(value: Any) -> bool:
    """Return whether a value is true or false, and not a number."""
    return isinstance(value, bool) or str(value).strip().casefold() in ("true", "false")


def axis_name(value: Any, *, is_img2img: bool) -> str:
    """Return the name of an axis by its name or its number.

    Raises:
        InvalidParameterError: There is no such axis.
    """
    names = NUMBERED[is_img2img]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        value = names[value]
    text = str(value if value not in (None, "") else "Nothing")
    found = next((name for name in AXES if name.casefold() == text.strip().casefold()), None)
    if found is None:
        close = nearest(text, AXES)
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(AXES)}."
        raise InvalidParameterError(
            f"There is no axis '{text[:60]}'.", hint=hint, parameter="script_args", choices=list(AXES)
        )
    return found


def plot_arguments() -> list[dict[str, Any]]:
    """Return the arguments of the plot, in their order."""
    rows: list[dict[str, Any]] = []
    for axis in "XYZ":
        rows.append({"label": f"{axis} type", "value": "Nothing", "choices": list(AXES)})
        rows += [{"label": f"{axis} values", "value": ""}, {"label": f"{axis} values", "value": []}]
    return [*rows, *({"label": name, "value": each.default} for name, each in PlotFlags.model_fields.items())]
