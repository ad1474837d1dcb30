"""The options of `octabox run` for what is done before and after a pipeline's call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from octabox.errors import InvalidParameterError

#: The parts of a workflow: what a single number stands for, and what each does.
PARTS = {
    "variation": ("STRENGTH", "Mix in the noise of another seed, from 0 to 1."),
    "inpaint": ("PADDING", "Paint the masked region alone, at full size; all else stays to the pixel."),
    "outpaint": ("PIXELS", "Continue the picture beyond its edges."),
    "hires": ("SCALE", "Paint the finished picture over at a larger size."),
    "upscale": ("SCALE", "Enlarge the finished picture, by a filter or a model."),
}


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options."""
    for name, (number, words) in reversed(PARTS.items()):
        command = click.option(f"--{name}", metavar=f"{number}|KEY=VALUE,...", help=words)(command)
    return command


def taken(given: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of a command's, and return the workflow that they mean.

    Raises:
        InvalidParameterError: One is neither a number nor pairs nor JSON.
    """
    texts = {name: given.pop(name) for name in PARTS}
    return {name: _part(name, text.strip()) for name, text in texts.items() if text is not None}


def _part(name: str, text: str) -> Any:
    """Read a number, JSON, or ``key=value`` pairs with commas between."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if isinstance(value, int | float | Mapping):
        return value
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        example = f"--{name} {PARTS[name][0]}, or --{name} KEY=VALUE,KEY=VALUE, or JSON"
        raise InvalidParameterError(
            f"'{text}' is no number and no KEY=VALUE.", hint=f"Write {example}.", parameter=f"workflow.{name}"
        )
    return {key.strip(): _value(value.strip()) for key, _, value in pairs}


def _value(text: str) -> Any:
    """Return a number, yes or no, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
