"""LocalAI's ``positive|negative`` prompts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.prompts.names import PLAIN
from octabox.prompts.wildcards import is_json
from octabox.security.nesting import check_text

#: Characters that decide about a split, without those behind a backslash.
_MARK = re.compile(r"\\.|[|()\[\]{}]", re.DOTALL)

#: The opening bracket of each closing one.
_BRACKETS = {")": "(", "]": "[", "}": "{"}

#: Warning about a prompt that was split.
SPLIT = (
    r"'prompt' was split at '|': the text behind it is the negative prompt. Write '\|' for a bar that belongs to it."
)


def split_prompt(text: str) -> tuple[str, str | None]:
    r"""Return the two parts of ``positive|negative``; ``\|`` and a bar in brackets, braces or JSON are part of the text."""
    bar = None if is_json(text) else _find_bar(text)
    if bar is None:
        return unescape(text), None
    return unescape(text[:bar]).strip(), unescape(text[bar + 1 :]).strip()


def _find_bar(text: str) -> int | None:
    """Return the position of the first bar outside brackets and braces; brackets without a counterpart are text."""
    bars: list[int] = []
    opened: list[tuple[str, int]] = []
    counts = Counter[str]()
    for found in _MARK.finditer(text):
        mark = found[0]
        if mark == "|":
            bars.append(found.start())
        elif mark in _BRACKETS.values():
            opened.append((mark, found.start()))
            counts[mark] += 1
        elif mark in _BRACKETS and counts[_BRACKETS[mark]]:
            last = opened.pop()
            while last[0] != _BRACKETS[mark]:
                counts[last[0]] -= 1
                last = opened.pop()
            counts[last[0]] -= 1
            while bars and bars[-1] > last[1]:
                del bars[-1]
    return bars[0] if bars else None


def unescape(text: str) -> str:
    r"""Return a prompt with ``\|`` as ``|``; one that is JSON is not changed."""
    return text if is_json(text) else text.replace("\\|", "|")


def find_negative(negative: Any, params: Mapping[str, Any], client_names: Mapping[str, str]) -> Any:
    """Return the negative prompt of a request: that of its field, or that of a short name, among the call parameters.

    Args:
        negative: The value of the field; None if the request has none.
        params: The call parameters of other fields.
        client_names: The client's names of those that differ.

    Raises:
        InvalidParameterError: There are both.
    """
    if "negative_prompt" not in params:
        return negative
    if negative is not None:
        name = client_names.get("negative_prompt", "negative_prompt")
        same = f"'{name}' and 'negative_prompt' are the same parameter."
        message = same if name != "negative_prompt" else f"'{name}' is given twice."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=name)
    return params["negative_prompt"]


def parse_prompts(
    prompt: str | list[str] | None,
    negative: str | list[str] | None,
    warnings: list[str],
    syntax: str | None = None,
    entry: PipelineEntry | None = None,
) -> dict[str, str | list[str]]:
    """Return the prompt and the negative prompt as call parameters, split where one text holds both.

    Args:
        prompt: The prompt, or several.
        negative: The negative prompt; a prompt is split only without one.
        warnings: A split is added to these.
        syntax: The prompt syntax that the request names. All but the plain one have a meaning for a bar, so that it is kept.
        entry: The pipeline. One without a negative prompt has no use for a split; None if it is not known.

    Raises:
        InvalidParameterError: A text is longer than any model reads.
    """
    for name, text in (("prompt", prompt), ("negative_prompt", negative)):
        check_text(text, name)
    found: dict[str, str | list[str]] = {} if negative is None else {"negative_prompt": negative}
    if prompt is None:
        return found
    if syntax not in (None, PLAIN):
        return {"prompt": prompt, **found}
    texts = prompt if isinstance(prompt, list) else [prompt]
    if found or (entry is not None and entry.parameter("negative_prompt") is None):
        positives: list[str] = [unescape(text) for text in texts]
    else:
        pairs = [split_prompt(text) for text in texts]
        positives = [positive for positive, _ in pairs]
        if any(negative is not None for _, negative in pairs):
            warnings.append(SPLIT)
            negatives = [negative or "" for _, negative in pairs]
            found["negative_prompt"] = negatives if isinstance(prompt, list) else negatives[0]
    return {"prompt": positives if isinstance(prompt, list) else positives[0], **found}


def place_prompts(
    prompts: Mapping[str, str | list[str]], entry: PipelineEntry | None
) -> tuple[dict[str, str | list[str]], dict[str, str | list[str]]]:
    """Return the prompts as call parameters, and as optional ones: a pipeline without a prompt gets them only as such.

    Clients of OpenAI's and LocalAI's APIs always send a prompt, also to a model that takes none.

    Args:
        prompts: The prompt and the negative prompt.
        entry: The pipeline; None if it is not known.
    """
    if entry is None or entry.parameter("prompt") is not None:
        return dict(prompts), {}
    return {}, {name: prompt for name, prompt in prompts.items() if prompt}
