"""The guidance of a call, the settings of a second pass, and numbers and sizes, as pairs of an infotext."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Name of the default schedule in the web UI.
AUTOMATIC = "Automatic"

#: Keys that describe files and programs.
SILENT = re.compile(r"hash(es)?$|^(Version|Pipeline)$", re.IGNORECASE)

#: Keys for classifier-free guidance and for the guidance of distilled models, and the parameters of a pipeline with both.
GUIDANCE_KEYS, GUIDANCES = ("CFG scale", "Distilled CFG Scale"), ("true_cfg_scale", "guidance_scale")

#: Keys for the settings of a second pass that replace those of the first.
HIRES_PROMPTS = {"prompt": "Hires prompt", "negative_prompt": "Hires negative prompt"}
HIRES_GUIDANCE_KEYS = ("Hires CFG Scale", "Hires Distilled CFG Scale")
HIRES_MODEL, HIRES_SAMPLER, HIRES_SCHEDULE = "Hires checkpoint", "Hires sampler", "Hires schedule type"


class Pairs(dict[str, str]):
    """The pairs of an infotext, which note what is asked for."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        super().__init__(pairs)
        self._read: set[object] = set()

    @property
    def unused(self) -> list[str]:
        """The keys that have not been asked for, without those that have no part in a request."""
        return [key for key in self if key not in self._read and not SILENT.search(key)]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        self._read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self._read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._read.add(key)
        return super().__contains__(key)


def guidance_pairs(
    params: Mapping[str, Any], names: tuple[str, str | None] | None = None, keys: tuple[str, str] = GUIDANCE_KEYS
) -> dict[str, Any]:
    """Return the pairs for the guidance of a call.

    Args:
        params: The call parameters.
        names: The parameter for classifier-free guidance, and that of distilled models, if the pipeline has both; by
            default as far as the parameters show.
        keys: The keys for both.
    """
    cfg, distilled = names or (GUIDANCES if GUIDANCES[0] in params else (GUIDANCES[1], None))
    return {keys[0]: params.get(cfg), keys[1]: params.get(distilled) if distilled else None}


def second_pass_pairs(hires: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pairs for the model, the scheduler and the call parameters of a second pass that differ."""
    params, scheduler = hires.get("params") or {}, hires.get("scheduler") or {}
    scheduler = {"name": scheduler} if isinstance(scheduler, str) else scheduler
    return {
        HIRES_MODEL: hires.get("model"),
        HIRES_SAMPLER: scheduler.get("name"),
        HIRES_SCHEDULE: scheduler.get("schedule"),
        **guidance_pairs(params, keys=HIRES_GUIDANCE_KEYS),
        **{key: prompt_text(params[name]) for name, key in HIRES_PROMPTS.items() if params.get(name)},
    }


def parse_second_pass(pairs: Mapping[str, str]) -> dict[str, Any]:
    """Return the model, the scheduler and the call parameters of a second pass in the pairs of an infotext."""
    prompts = {name: pairs[key] for name, key in HIRES_PROMPTS.items() if key in pairs}
    params = {**prompts, **parse_guidance(pairs, HIRES_GUIDANCE_KEYS)}
    schedule = pairs.get(HIRES_SCHEDULE)
    # Another schedule alone is one of the first pass's sampler.
    named = {"name": pairs.get(HIRES_SAMPLER) or (schedule and pairs.get("Sampler")), "schedule": schedule}
    scheduler = {name: each for name, each in named.items() if each is not None and each != AUTOMATIC}
    return {
        "model": pairs.get(HIRES_MODEL),
        "scheduler": scheduler if "name" in scheduler else None,
        "params": params or None,
    }


def parse_guidance(pairs: Mapping[str, str], keys: tuple[str, str]) -> dict[str, Any]:
    """Return the parameters of the guidance in the pairs of an infotext: both of a pipeline that has two."""
    cfg, distilled = (to_number(pairs.get(key), float) for key in keys)
    found = {GUIDANCES[1]: cfg} if distilled is None else {GUIDANCES[0]: cfg, GUIDANCES[1]: distilled}
    return {name: number for name, number in found.items() if number is not None}


def prompt_text(prompt: Any) -> str:
    """Return a prompt as text, with one line for each of several."""
    return "\n".join(map(str, prompt)) if isinstance(prompt, (list, tuple)) else str(prompt)


def to_number(text: str | None, kind: type[int | float]) -> float | None:
    """Return a number of an infotext; None if the text is not one."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None


def sides_text(sides: Mapping[str, Any]) -> str | None:
    """Return a width and height as text; 0 is a side that follows from the other one, and None is without both."""
    width, height = (sides.get(name) or 0 for name in ("width", "height"))
    return f"{width}x{height}" if width or height else None


def parse_sides(text: str) -> dict[str, int]:
    """Return the width and height of a text such as ``512x768``; nothing for other texts."""
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    return {"width": int(size[1]), "height": int(size[2])} if size else {}
