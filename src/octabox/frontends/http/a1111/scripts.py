"""The names and arguments of the scripts of the web UI that there are."""

from __future__ import annotations

from typing import Any

from octabox.errors import InvalidParameterError, nearest

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

#: Arguments after the three axes, with their defaults.
FLAGS: dict[str, Any] = {
    "draw_legend": True,
    "include_lone_images": False,
    "include_sub_grids": False,
    "no_fixed_seeds": False,
    "vary_seeds_x": False,
    "vary_seeds_y": False,
    "vary_seeds_z": False,
    "margin_size": 0,
    "csv_mode": False,
}


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
    return [*rows, *({"label": name, "value": value} for name, value in FLAGS.items())]
