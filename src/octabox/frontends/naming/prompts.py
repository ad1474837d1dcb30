"""LocalAI's ``positive|negative`` prompts."""

from __future__ import annotations

import re

_BAR = re.compile(r"(?<!\\)\|")


def split_prompt(text: str) -> tuple[str, str | None]:
    r"""Return the two parts of ``positive|negative``; ``\|`` is a literal bar."""
    positive, *negative = _BAR.split(text, maxsplit=1)
    if not negative:
        return unescape(positive), None
    return unescape(positive).strip(), unescape(negative[0]).strip()


def unescape(text: str) -> str:
    r"""Return a prompt with ``\|`` as ``|``."""
    return text.replace("\\|", "|")


def parse_prompts(prompt: str | list[str] | None, negative: str | list[str] | None) -> dict[str, str | list[str]]:
    """Return the prompt and the negative prompt as call parameters, split where one text holds both."""
    found: dict[str, str | list[str]] = {} if negative is None else {"negative_prompt": negative}
    if prompt is None:
        return found
    texts = prompt if isinstance(prompt, list) else [prompt]
    if found:
        positives: list[str] = [unescape(text) for text in texts]
    else:
        pairs = [split_prompt(text) for text in texts]
        positives = [positive for positive, _ in pairs]
        if any(negative is not None for _, negative in pairs):
            negatives = [negative or "" for _, negative in pairs]
            found["negative_prompt"] = negatives if isinstance(prompt, list) else negatives[0]
    return {"prompt": positives if isinstance(prompt, list) else positives[0], **found}
