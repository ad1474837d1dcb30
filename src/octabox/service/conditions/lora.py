"""Which LoRAs a call is made with: those of the model's configuration, of the request, and of the tags in its prompts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from octabox.config.model import MAX_WEIGHT, LoraConfig, ModelConfig
from octabox.errors import InvalidParameterError, NotFoundError, SecurityError, nearest
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.folder import is_hub_id
from octabox.types import AdapterChoice

#: A tag: a word, a colon, and what is said to it.
TAG = re.compile(r"<\s*(\w+)\s*:([^<>]*)>")

#: Words of tags that name a LoRA, whatever kind of network it is.
LORA_WORDS = frozenset({"lora", "lyco"})

#: Words of tags that others know and that nothing here can follow.
FOREIGN_WORDS = frozenset({"hypernet"})

#: What A1111 calls the parts of a model in tags, and what they are called here.
TAG_PARTS = {"te": "text_encoder", "unet": "unet"}

#: Tags of LoRAs in a row, with the blanks and commas that part them from what is around.
_ROW = re.compile(r"\s*(,?)(?:[\s,]*<\s*(?:lora|lyco)\s*:[^<>]*>)+\s*(,?)\s*", re.IGNORECASE)


def select_adapters(
    params: Mapping[str, Any], asked: Iterable[AdapterChoice], model: ModelConfig, registry: AdapterRegistry
) -> tuple[dict[str, Any], tuple[AdapterChoice, ...] | None]:
    """Return the parameters of a run without their tags, and the LoRAs that it is to be made with.

    Args:
        params: The run's parameters.
        asked: LoRAs that the request names beside its prompts.
        model: The model's configuration.
        registry: Where names are looked up.

    Returns:
        The parameters, and the LoRAs by file or Hub id; None where the configuration's own hold.

    Raises:
        NotFoundError: There is no LoRA of a name.
        RequestError: A tag or a strength is wrong, or a LoRA is named twice.
        SecurityError: A name leads out of the folder of LoRAs.
    """
    plain, tagged = without_tags(params)
    wanted = [_located(choice, registry) for choice in (*asked, *tagged)]
    if not wanted:
        return plain, None
    twice = [name for name, count in Counter(choice.lora for choice in wanted).items() if count > 1]
    if twice:
        called = next(choice.display_name for choice in wanted if choice.lora == twice[0])
        raise InvalidParameterError(f"LoRA '{called}' is named twice.", hint="Name it once.", parameter="adapters")
    own = [AdapterChoice(each.lora, each.weight, each.weights) for each in model.adapters]
    kept = [choice for choice in own if choice.lora not in {each.lora for each in wanted}]
    return plain, (*kept, *wanted)


def without_tags(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[AdapterChoice]]:
    """Return parameters without the tags in their prompts, and the LoRAs that those name.

    Raises:
        InvalidParameterError: A tag cannot be followed.
    """
    plain, found = dict(params), []
    for name, value in params.items():
        texts = value if isinstance(value, list) else [value]
        if "prompt" not in name or not all(isinstance(text, str) for text in texts):
            continue
        tags = [tag for text in texts for tag in _tags(text, name)]
        if tags and name.startswith("negative"):
            hint = "Put it into 'prompt'; a LoRA that is to push away has a strength below 0."
            raise InvalidParameterError(f"A LoRA in '{name}' has no effect.", hint=hint, parameter=name)
        if tags:
            found += tags
            cleaned = [_without(text) for text in texts]
            plain[name] = cleaned if isinstance(value, list) else cleaned[0]
    # The second prompt often repeats the first.
    return plain, [choice for index, choice in enumerate(found) if choice not in found[:index]]


def _tags(text: str, parameter: str) -> list[AdapterChoice]:
    """Return the LoRAs that a text's tags name."""
    found = []
    for match in TAG.finditer(text):
        word = match[1].lower()
        if word in LORA_WORDS:
            found.append(_lora(match, parameter))
        elif word in FOREIGN_WORDS or (like := nearest(word, LORA_WORDS)):
            meant = "" if word in FOREIGN_WORDS else f"Did you mean <{like[0]}:{match[2]}>?"
            hint = meant or "Take it out; a LoRA is named as <lora:NAME:WEIGHT>."
            raise InvalidParameterError(f"'{match[0]}' is no tag that is known.", hint=hint, parameter=parameter)
    return found


def _lora(match: re.Match[str], parameter: str) -> AdapterChoice:
    """Return the LoRA of a tag: a name, then a strength, or one for the text encoders and one for the UNet."""
    name, *others = (part.strip() for part in match[2].split(":"))
    numbers = [part for part in others if "=" not in part]
    named = dict(part.split("=", 1) for part in others if "=" in part)
    unknown = sorted(set(named) - set(TAG_PARTS))
    if not name or len(numbers) > 2 or unknown:  # noqa: PLR2004 (strengths)
        wrong = f"'{unknown[0]}' in '{match[0]}' is not known" if unknown else f"'{match[0]}' cannot be read"
        hint = "Write <lora:NAME:WEIGHT>, <lora:NAME:TE:UNET> or <lora:NAME:te=0.5:unet=1>."
        raise InvalidParameterError(f"{wrong}.", hint=hint, parameter=parameter)
    weights = [_number(text, match[0], parameter) for text in numbers]
    by_part = {TAG_PARTS[part]: _number(text, match[0], parameter) for part, text in named.items()}
    if len(weights) == 2:  # noqa: PLR2004 (strengths)
        by_part = {"text_encoder": weights[0], "unet": weights[1], **by_part}
    return AdapterChoice(name, weights[0] if weights else 1.0, by_part)


def _number(text: str, tag: str, parameter: str) -> float:
    try:
        return float(text)
    except ValueError:
        hint = "Write it as 0.8."
        raise InvalidParameterError(f"'{text}' in '{tag}' is no strength.", hint=hint, parameter=parameter) from None


def _without(text: str) -> str:
    """Return a text without its tags, nor the commas and blanks that only parted them."""

    def between(row: re.Match[str]) -> str:
        if row.start() == 0 or row.end() == len(text):
            return ""
        return ", " if row[1] or row[2] else " "

    return _ROW.sub(between, text)


def _located(choice: AdapterChoice, registry: AdapterRegistry) -> AdapterChoice:
    """Return a LoRA by its file or Hub id, its strengths checked."""
    for weight in (choice.weight, *choice.weights.values()):
        if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
            raise InvalidParameterError(
                f"The strength of LoRA '{choice.display_name}' must be from -{MAX_WEIGHT} to {MAX_WEIGHT}, not {weight:g}.",
                hint="1 is as it was trained.",
                parameter="adapters",
            )
    return AdapterChoice(registry.source(choice.lora), choice.weight, choice.weights, choice.display_name)


def with_loras(model: ModelConfig, registry: AdapterRegistry) -> ModelConfig:
    """Return a configuration whose LoRAs are files or Hub ids; one that is nowhere stays as it is, for the load to tell."""
    adapters = tuple(each.model_copy(update={"lora": _configured(each, registry)}) for each in model.adapters)
    return model if adapters == model.adapters else model.model_copy(update={"adapters": adapters})


def _configured(lora: LoraConfig, registry: AdapterRegistry) -> str:
    """Return the source of a configuration's LoRA: by its place, else by its name in the folder of LoRAs."""
    if Path(lora.lora).exists() or is_hub_id(lora.lora):
        return lora.lora
    # Paths of configurations were made absolute against the models folder, which a mere name is not in.
    for name in (lora.lora, Path(lora.lora).name):
        try:
            return registry.source(name)
        except (NotFoundError, SecurityError):
            continue
    return lora.lora
