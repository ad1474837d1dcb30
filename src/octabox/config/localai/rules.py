"""What becomes of those keys of LocalAI's that are not simply copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from octabox.config.localai.keys import table
from octabox.config.localai.translation import Translation
from octabox.config.preset_merge import preset_of_alias
from octabox.config.problems import did_you_mean, shown
from octabox.types import ACCELERATOR


def _backend(translation: Translation, key: str, value: str) -> None:
    """Refuse models of other backends; a backend's build may stand in its name, as in ``cuda12-diffusers``."""
    if value and "diffusers" not in value.split("-"):
        hint = did_you_mean(value, ["diffusers"]) or "only models of its backend diffusers are"
        translation.report(key, f"This is a model of LocalAI's backend {value!r}, and is not served here.", hint)
        translation.served = False


def _alias(translation: Translation, key: str, value: str) -> None:
    """Report a name that only leads to another model."""
    if value:
        name = shown(translation.source.get("name"))
        translation.report(key, f"{name} is only another name for {value!r}, and is not served.", f"call {value!r}")
        translation.served = False


def _disabled(translation: Translation, key: str, value: bool) -> None:
    """Leave a model out whose author wants it out."""
    if value:
        translation.report(key, "The model is disabled, and is not served.", f"take `{key}` out to serve it", "warning")
        translation.served = False


def _dtype(translation: Translation, key: str, value: str) -> None:
    """Take LocalAI's words for a dtype."""
    words = table()["dtypes"]
    if value.lower() in words:
        translation.put("dtype", words[value.lower()], key)
    elif value:
        hint = did_you_mean(value, words) or f"one of {', '.join(words)}"
        translation.report(key, f"`{key}` is no dtype: {value!r}.", hint)


def _options(translation: Translation, key: str, value: list[Any]) -> None:
    """Take ``name:value`` entries as call parameters; only the first colon parts the two."""
    for index, option in enumerate(value):
        entry = f"{key}.{index}"
        if not isinstance(option, str) or ":" not in option:
            hint = "write no blank after the colon, or quote the entry" if isinstance(option, dict) else ""
            translation.report(entry, f"An option must be text like `name:value`, not {shown(option)}.", hint)
            continue
        name, _, text = (part.strip() for part in option.partition(":"))
        if name in {"torch_dtype", "dtype"}:
            _dtype(translation, entry, text)
        elif not name:
            translation.report(entry, f"An option must have a name: {option!r}.")
        else:
            translation.put(f"defaults.{table()['options'].get(name, name)}", option_value(text), entry)


def option_value(text: str) -> Any:
    """Read an option's value: a number, true, false, null, a list or a mapping as in JSON; all else is text."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(text, text), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(text: str) -> None:
    """Keep NaN and Infinity as text: they are no JSON."""
    raise ValueError(text)


def _cuda(translation: Translation, key: str, value: bool) -> None:
    """Run on an accelerator, of whatever maker, if one of the two keys says so; a plain ``false`` means the processor."""
    if value or "device" not in translation.fields:
        translation.fields["device"] = ACCELERATOR if value else "cpu"
        translation.origins["device",] = key


def _pipeline_type(translation: Translation, key: str, value: str) -> None:
    """Keep the class as written, unless it is one that only LocalAI has: that is a preset."""
    preset = preset_of_alias(value)
    if preset is not None:
        translation.put("preset", preset.name, key)
    elif value:
        translation.put("pipeline", value, key)


def _img2img(translation: Translation, key: str, value: bool) -> None:
    """Take it for the task where no class is given."""
    if not value:
        return
    if "pipeline" in translation.fields or "preset" in translation.fields:
        translation.warn(key, "`diffusers.pipeline_type` says what the model does")
    else:
        translation.put("pipeline", "image-to-image", key)


def _enable_parameters(translation: Translation, key: str, value: str) -> None:
    """Report what the list leaves out of the file's own parameters: they are passed all the same.

    LocalAI has stopped to read the list; guidance_scale was passed without it even before.
    """
    listed = {name.strip() for name in value.split(",")}
    left_out = sorted(set(translation.fields.get("defaults", {})) - listed - {"guidance_scale"})
    if value and left_out:
        names = ", ".join(f"`{name}`" for name in left_out)
        translation.warn(key, f"it leaves out {names}, which this file sets, and which the model gets all the same")


def _lora_adapter(translation: Translation, key: str, value: str) -> None:
    """Take one LoRA with its scale."""
    if value:
        scale = translation.source.get("lora_scale")
        translation.add_adapter(value, 1.0 if scale is None else scale, key)


def _lora_adapters(translation: Translation, key: str, value: list[Any]) -> None:
    """Take several LoRAs; one without a scale is applied in full."""
    scales = translation.source.get("lora_scales") or []
    if not isinstance(scales, list):
        return
    for index, lora in enumerate(value):
        translation.add_adapter(lora, scales[index] if index < len(scales) else 1.0, f"{key}.{index}")
    if len(scales) > len(value) > 0:
        translation.report("lora_scales", f"There are {len(scales)} scales for {len(value)} LoRAs.", "one for each")


#: The rules by the names that ``keys.yaml`` calls them by.
RULES: Mapping[str, Callable[[Translation, str, Any], None]] = {
    "backend": _backend,
    "alias": _alias,
    "disabled": _disabled,
    "dtype": _dtype,
    "options": _options,
    "cuda": _cuda,
    "pipeline_type": _pipeline_type,
    "img2img": _img2img,
    "enable_parameters": _enable_parameters,
    "lora_adapter": _lora_adapter,
    "lora_adapters": _lora_adapters,
}
