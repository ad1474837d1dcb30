"""Rules for the keys of LocalAI's configuration that are not simply copied."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from octabox.config.localai.keys import table
from octabox.config.localai.translation import Translation
from octabox.config.model import ACCELERATOR
from octabox.config.preset_merge import preset_of_alias
from octabox.config.problems import did_you_mean, format_value


def _backend(translation: Translation, key: str, value: str) -> None:
    """Refuse models of other backends; the name may include the build, as in ``cuda12-diffusers``."""
    if value and "diffusers" not in value.split("-"):
        hint = did_you_mean(value, ["diffusers"]) or "only models of LocalAI's backend diffusers are served"
        translation.report(key, f"This model is for LocalAI's backend {value!r} and is not served.", hint)
        translation.served = False


def _disabled(translation: Translation, key: str, value: bool) -> None:
    """Skip a disabled model."""
    if value:
        translation.report(key, "The model is disabled and is not served.", f"remove `{key}` to serve it", "warning")
        translation.served = False


def _dtype(translation: Translation, key: str, value: str) -> None:
    """Translate LocalAI's name of a dtype."""
    names = table()["dtypes"]
    if value.lower() in names:
        translation.put(("dtype",), names[value.lower()], key)
    elif value:
        hint = did_you_mean(value, names) or f"one of {', '.join(names)}"
        translation.report(key, f"`{key}` must be a dtype, not {value!r}.", hint)


def _options(translation: Translation, key: str, value: list[Any]) -> None:
    """Translate ``name:value`` entries to call parameters; the first colon is the separator."""
    for index, option in enumerate(value):
        entry = f"{key}.{index}"
        if not isinstance(option, str) or ":" not in option:
            hint = "remove the space after the colon, or quote the entry" if isinstance(option, dict) else ""
            translation.report(entry, f"An option must be text like `name:value`, not {format_value(option)}.", hint)
            continue
        name, _, text = (part.strip() for part in option.partition(":"))
        if name in {"torch_dtype", "dtype"}:
            _dtype(translation, entry, text)
        elif not name:
            translation.report(entry, f"An option must have a name: {option!r}.")
        else:
            translation.put(("defaults", table()["options"].get(name, name)), option_value(text), entry)


def option_value(text: str) -> Any:
    """Parse an option's value as JSON, with Python's True, False and None; anything else is text."""
    try:
        return parse_json({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except (ValueError, RecursionError):
        return text


def parse_json(text: str) -> Any:
    """Parse JSON in a field of LocalAI's.

    Raises:
        ValueError: It is not JSON, has NaN or Infinity, or escapes half of a surrogate pair, which cannot be encoded later.
        RecursionError: It is nested too deeply.
    """
    value = json.loads(text, parse_constant=_refuse_constant)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(text: str) -> None:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(text)


def _cuda(translation: Translation, key: str, value: bool) -> None:
    """Use an accelerator of any type if one of the two keys is true; ``false`` alone selects the CPU."""
    if value or "device" not in translation.fields:
        translation.fields["device"] = ACCELERATOR if value else "cpu"
        translation.origins["device",] = key


def _pipeline_type(translation: Translation, key: str, value: str) -> None:
    """Keep the class name, or select the preset for a class that only LocalAI has."""
    preset = preset_of_alias(value)
    if preset is not None:
        translation.put(("preset",), preset.name, key)
    elif value:
        translation.put(("pipeline",), value, key)


def _img2img(translation: Translation, key: str, value: bool) -> None:
    """Set the task if no class is set."""
    if not value:
        return
    if "pipeline" in translation.fields or "preset" in translation.fields:
        translation.warn(key, "`diffusers.pipeline_type` selects the pipeline")
    else:
        translation.put(("pipeline",), "image-to-image", key)


def _enable_parameters(translation: Translation, key: str, value: str) -> None:
    """Report the file's parameters that the list omits: they are passed nevertheless.

    LocalAI no longer reads the list, and always passed guidance_scale.
    """
    listed = {name.strip() for name in value.split(",")}
    omitted = sorted(set(translation.fields.get("defaults", {})) - listed - {"guidance_scale"})
    if value and omitted:
        names = ", ".join(f"`{name}`" for name in omitted)
        translation.warn(key, f"it omits {names}, which this file sets and which is passed to the model nevertheless")


def _lora_adapter(translation: Translation, key: str, value: str) -> None:
    """Add a LoRA with its scale."""
    if value:
        scale = translation.source.get("lora_scale")
        translation.add_adapter(value, 1.0 if scale is None else scale, key)


def _lora_adapters(translation: Translation, key: str, value: list[Any]) -> None:
    """Add several LoRAs; the default scale is 1."""
    scales = translation.source.get("lora_scales") or []
    if not isinstance(scales, list):
        return
    for index, lora in enumerate(value):
        translation.add_adapter(lora, scales[index] if index < len(scales) else 1.0, f"{key}.{index}")
    if len(scales) > len(value) > 0:
        translation.report(
            "lora_scales", f"There are {len(scales)} scales for {len(value)} LoRAs.", "give one for each"
        )


#: The rules by their names in ``keys.yaml``.
RULES: Mapping[str, Callable[[Translation, str, Any], None]] = {
    "backend": _backend,
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
