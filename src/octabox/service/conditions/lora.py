"""Select the LoRAs of a call: those of the model's configuration, of the request, and of the tags in its prompts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from octabox.config.model import MAX_WEIGHT, LoraConfig, ModelConfig
from octabox.errors import InvalidParameterError, NotFoundError, SecurityError, nearest
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.folder import is_hub_id
from octabox.types import AdapterChoice

#: A tag: a word, a colon, and its values.
TAG = re.compile(r"<\s*(\w+)\s*:([^<>]*)>")

#: Words of tags for LoRAs of any network type.
LORA_WORDS = frozenset({"lora", "lyco"})

#: Words of tags of the AUTOMATIC1111 web UI that are not supported.
UNSUPPORTED_WORDS = frozenset({"hypernet"})

#: Components by their names in tags.
TAG_PARTS = {"te": "text_encoder", "unet": "unet"}

#: A tag of a LoRA.
_LORA_TAG = re.compile(r"<\s*(?:lora|lyco)\s*:[^<>]*>", re.IGNORECASE)

#: What may follow consecutive tags: blanks with one comma among them.
_BEHIND = re.compile(r"\s*(,?)\s*")


def select_adapters(
    params: Mapping[str, Any], requested: Iterable[AdapterChoice], model: ModelConfig, registry: AdapterRegistry
) -> tuple[dict[str, Any], tuple[AdapterChoice, ...] | None]:
    """Return the parameters of a run without tags, and its LoRAs.

    Args:
        params: The run's parameters.
        requested: LoRAs of the request, without those of its prompts.
        model: The model's configuration.
        registry: The LoRAs of the server.

    Returns:
        The parameters, and the LoRAs by file or Hub id; None for those of the configuration.

    Raises:
        NotFoundError: There is no LoRA with a name.
        RequestError: A tag or a weight is invalid, or a LoRA is given twice.
        SecurityError: A name leads out of the folder of LoRAs.
    """
    untagged, tagged = without_tags(params)
    choices = [_resolve(choice, registry) for choice in (*requested, *tagged)]
    if not choices:
        return untagged, None
    duplicates = [name for name, count in Counter(choice.lora for choice in choices).items() if count > 1]
    if duplicates:
        name = next(choice.display_name for choice in choices if choice.lora == duplicates[0])
        raise InvalidParameterError(f"LoRA '{name}' is named twice.", hint="Name it once.", parameter="adapters")
    configured = [AdapterChoice(each.lora, each.weight, each.weights) for each in model.adapters]
    kept = [choice for choice in configured if choice.lora not in {each.lora for each in choices}]
    return untagged, (*kept, *choices)


def without_tags(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[AdapterChoice]]:
    """Return parameters without the tags in their prompts, and the LoRAs of the tags.

    Raises:
        InvalidParameterError: A tag is invalid.
    """
    untagged, found = dict(params), []
    for name, value in params.items():
        texts = value if isinstance(value, list) else [value]
        if "prompt" not in name or not all(isinstance(text, str) for text in texts):
            continue
        tags = [tag for text in texts for tag in _tags(text, name)]
        if tags and name.startswith("negative"):
            hint = "Move it to 'prompt'; use a weight below 0 for the opposite effect."
            raise InvalidParameterError(f"A LoRA in '{name}' has no effect.", hint=hint, parameter=name)
        if tags:
            found += tags
            cleaned = [_without(text) for text in texts]
            untagged[name] = cleaned if isinstance(value, list) else cleaned[0]
    # The second prompt often repeats the first.
    distinct: dict[tuple[object, ...], AdapterChoice] = {}
    for choice in found:
        distinct.setdefault((choice.lora, choice.weight, *sorted(choice.weights.items())), choice)
    return untagged, [*distinct.values()]


def _tags(text: str, parameter: str) -> list[AdapterChoice]:
    """Return the LoRAs of the tags in a text."""
    found = []
    for match in TAG.finditer(text):
        word = match[1].lower()
        if word in LORA_WORDS:
            found.append(_lora(match, parameter))
        elif word in UNSUPPORTED_WORDS or (close := nearest(word, LORA_WORDS)):
            suggestion = "" if word in UNSUPPORTED_WORDS else f"Did you mean <{close[0]}:{match[2]}>?"
            hint = suggestion or "Remove it; the tag of a LoRA is <lora:NAME:WEIGHT>."
            raise InvalidParameterError(f"'{match[0]}' is not a known tag.", hint=hint, parameter=parameter)
    return found


def _lora(match: re.Match[str], parameter: str) -> AdapterChoice:
    """Return the LoRA of a tag: a name, then a weight, or one for the text encoders and one for the UNet."""
    name, *others = (part.strip() for part in match[2].split(":"))
    numbers = [part for part in others if "=" not in part]
    named = dict(part.split("=", 1) for part in others if "=" in part)
    unknown = sorted(set(named) - set(TAG_PARTS))
    if not name or len(numbers) > 2 or unknown:  # noqa: PLR2004 (weights)
        problem = f"'{unknown[0]}' in '{match[0]}' is not known" if unknown else f"'{match[0]}' is not a valid tag"
        hint = "Use <lora:NAME:WEIGHT>, <lora:NAME:TE:UNET> or <lora:NAME:te=0.5:unet=1>."
        raise InvalidParameterError(f"{problem}.", hint=hint, parameter=parameter)
    weights = [_number(text, match[0], parameter) for text in numbers]
    by_part = {TAG_PARTS[part]: _number(text, match[0], parameter) for part, text in named.items()}
    if len(weights) == 2:  # noqa: PLR2004 (weights)
        by_part = {"text_encoder": weights[0], "unet": weights[1], **by_part}
    return AdapterChoice(name, weights[0] if weights else 1.0, by_part)


def _number(text: str, tag: str, parameter: str) -> float:
    try:
        return float(text)
    except ValueError:
        hint = "Use a number such as 0.8."
        raise InvalidParameterError(f"'{text}' in '{tag}' is not a weight.", hint=hint, parameter=parameter) from None


def _without(text: str) -> str:
    """Return a text without its tags and the commas and blanks between them."""
    kept, position = list[str](), 0
    for first, last in _rows(text):
        start = _start_of_gap(text, position, first.start())
        behind = _BEHIND.match(text, last.end())
        end, has_comma = (behind.end(), bool(behind[1])) if behind else (last.end(), False)
        kept.append(text[position:start])
        if start and end < len(text):
            kept.append(", " if has_comma or "," in text[start : first.start()] else " ")
        position = end
    return "".join((*kept, text[position:]))


def _rows(text: str) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """Yield the first and the last tag of each row of LoRAs that only blanks and commas are between."""
    first = last = None
    for tag in _LORA_TAG.finditer(text):
        if first is not None and last is not None and _start_of_gap(text, last.end(), tag.start()) > last.end():
            yield first, last
            first = None
        first, last = first or tag, tag
    if first is not None and last is not None:
        yield first, last


def _start_of_gap(text: str, start: int, end: int) -> int:
    """Return where the blanks and commas before a position begin, at the earliest at another one."""
    while end > start and (text[end - 1] == "," or text[end - 1].isspace()):
        end -= 1
    return end


def _resolve(choice: AdapterChoice, registry: AdapterRegistry) -> AdapterChoice:
    """Return a LoRA by its file or Hub id, with checked weights."""
    for weight in (choice.weight, *choice.weights.values()):
        if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
            raise InvalidParameterError(
                f"The weight of LoRA '{choice.display_name}' must be from -{MAX_WEIGHT} to {MAX_WEIGHT}, not {weight:g}.",
                hint="1 is the weight that it was trained with.",
                parameter="adapters",
            )
    return AdapterChoice(registry.source(choice.lora), choice.weight, choice.weights, choice.display_name)


def with_loras(model: ModelConfig, registry: AdapterRegistry) -> ModelConfig:
    """Return a configuration whose LoRAs are files or Hub ids; missing ones are unchanged, and the load reports them."""
    adapters = tuple(each.model_copy(update={"lora": _configured_source(each, registry)}) for each in model.adapters)
    return model if adapters == model.adapters else model.model_copy(update={"adapters": adapters})


def _configured_source(lora: LoraConfig, registry: AdapterRegistry) -> str:
    """Return the source of a configured LoRA: its path or Hub id, else the file of its name in the folder of LoRAs."""
    if Path(lora.lora).exists() or is_hub_id(lora.lora):
        return lora.lora
    # Names were made absolute paths within the models folder, like all paths of a configuration.
    for name in (lora.lora, Path(lora.lora).name):
        try:
            return registry.source(name)
        except (NotFoundError, SecurityError):
            continue
    return lora.lora
