"""LocalAI's way to write two prompts as one."""

from __future__ import annotations

import re

_BAR = re.compile(r"(?<!\\)\|")


def split_prompt(text: str) -> tuple[str, str | None]:
    r"""Return the two parts of LocalAI's ``positive|negative``; ``\|`` is a bar that parts nothing."""
    positive, *negative = _BAR.split(text, maxsplit=1)
    if not negative:
        return unescape(positive), None
    return unescape(positive).strip(), unescape(negative[0]).strip()


def unescape(text: str) -> str:
    r"""Return a prompt with ``\|`` as ``|``."""
    return text.replace("\\|", "|")


def prompts_of(prompt: str | list[str] | None, negative: str | list[str] | None) -> dict[str, str | list[str]]:
    """Return the prompt and the negative prompt as call parameters, parted where they came as one."""
    found: dict[str, str | list[str]] = {} if negative is None else {"negative_prompt": negative}
    if prompt is None:
        return found
    texts = prompt if isinstance(prompt, list) else [prompt]
    if found:
        positives: list[str] = [unescape(text) for text in texts]
    else:
        parted = [split_prompt(text) for text in texts]
        positives = [positive for positive, _ in parted]
        if any(negative is not None for _, negative in parted):
            negatives = [negative or "" for _, negative in parted]
            found["negative_prompt"] = negatives if isinstance(prompt, list) else negatives[0]
    return {"prompt": positives if isinstance(prompt, list) else positives[0], **found}
