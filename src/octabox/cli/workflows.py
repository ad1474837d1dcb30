"""The options of `octabox run` for what is done before and after a pipeline's call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.errors import InvalidParameterError

if TYPE_CHECKING:
    from octabox.service.models import ModelService

#: The parts of a workflow: what a single number stands for, and what each does.
PARTS = {
    "variation": ("STRENGTH", "Mix in the noise of another seed, from 0 to 1."),
    "inpaint": ("PADDING", "Paint the masked region alone, at full size; all else stays to the pixel."),
    "outpaint": ("PIXELS", "Continue the image beyond its edges."),
    "hires": ("SCALE", "Paint the finished image over at a larger size."),
    "upscale": ("SCALE", "Enlarge the finished image, by a filter or a model."),
}

#: Settings that name a model.
NAMING = {"upscaler", "model"}


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


def placed(workflow: Mapping[str, Any], models: ModelService) -> dict[str, Any]:
    """Serve the models that a workflow names by their files or folders; return it with the names they then have."""
    from octabox.config.discovery import model_of_source

    made = {name: dict(part) if isinstance(part, Mapping) else part for name, part in workflow.items()}
    for part in filter(lambda each: isinstance(each, dict), made.values()):
        for key in NAMING & part.keys():
            place = str(part[key])
            config = model_of_source(place) if Path(place).expanduser().exists() else None
            if config is not None and place not in {each.name for each in models.configurations()}:
                # With its ending the name of a file is none that a model has by chance.
                models.add(config.model_copy(update={"name": Path(place).name}))
                part[key] = Path(place).name
    return made


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
