"""Options of `octabox run` for workflows: the steps before and after a pipeline's call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.errors import InvalidParameterError
from octabox.security.filesystem import existing_path

if TYPE_CHECKING:
    from octabox.service.models.service import ServerModels

#: Steps of a workflow: the meaning of a single number, and the help text.
STEPS = {
    "variation": ("STRENGTH", "Mix in the noise of another seed, from 0 to 1."),
    "noise": ("SCALE", "Scale the initial noise, or place that of another size in its centre."),
    "seamless": ("true", "Let opposite edges of the image continue each other."),
    "inpaint": ("PADDING", "Inpaint only the masked region, at full resolution; all other pixels are kept."),
    "outpaint": ("PIXELS", "Extend the image beyond its edges."),
    "refiner": ("FRACTION", "Let another model run the last steps, from this fraction of them."),
    "hires": ("SCALE", "Repaint the finished image at a larger size."),
    "upscale": ("SCALE", "Upscale the finished image, by a filter or a model."),
    "faces": ("STRENGTH", "Restore the faces in the finished image, by a model such as GFPGAN."),
}

#: Settings that are a list: the help text.
LISTS = {"stages": "Settings of each stage of a cascade; null leaves a stage as it is."}

#: Settings of steps that name a model.
MODEL_KEYS = {"upscaler", "model"}


def workflow_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the workflow options to a command."""
    for name, (number, text) in reversed(STEPS.items()):
        command = click.option(f"--{name}", metavar=f"{number}|KEY=VALUE,...", help=text)(command)
    for name, text in LISTS.items():
        command = click.option(f"--{name}", metavar="JSON", help=text)(command)
    return command


def pop_workflow(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the workflow options from a command's options, and return the workflow.

    Raises:
        InvalidParameterError: An option is neither a number nor pairs nor JSON, or no list where it has to be one.
    """
    texts = {name: text for name in (*STEPS, *LISTS) if (text := options.pop(name)) is not None}
    return {name: (_parse_list if name in LISTS else _parse_step)(name, text.strip()) for name, text in texts.items()}


def add_models(workflow: Mapping[str, Any], models: ServerModels) -> dict[str, Any]:
    """Add the models that a workflow refers to by path, and return the workflow with their names."""
    from octabox.service.selection.model_source import model_of_source

    resolved = {name: dict(step) if isinstance(step, Mapping) else step for name, step in workflow.items()}
    for step in filter(lambda each: isinstance(each, dict), resolved.values()):
        for key in MODEL_KEYS & step.keys():
            source = str(step[key])
            config = model_of_source(source) if existing_path(source) else None
            known = models.snapshot()
            names = {each.name for each in known.configurations()} | known.aliases().keys()
            if config is not None and source not in names:
                # The name includes the suffix, so that it does not collide with the name of another model.
                models.add(config.model_copy(update={"name": Path(source).name}))
                step[key] = Path(source).name
    return resolved


def _parse_list(name: str, text: str) -> list[Any]:
    """Parse a list in JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        hint = f'Such as --{name} \'[null, {{"params": {{"num_inference_steps": 20}}}}]\'.'
        raise InvalidParameterError(f"'{name}' must be a list in JSON, not '{text}'.", hint=hint, parameter=name)
    return value


def _parse_step(name: str, text: str) -> Any:
    """Parse a number, JSON, or comma-separated ``key=value`` pairs."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if isinstance(value, int | float | Mapping):
        return value
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        example = f"--{name} {STEPS[name][0]}, or --{name} KEY=VALUE,KEY=VALUE, or JSON"
        raise InvalidParameterError(
            f"'{name}' must be a number or KEY=VALUE, not '{text}'.",
            hint=f"Write {example}.",
            parameter=f"workflow.{name}",
        )
    names = [key.strip() for key, _, _ in pairs]
    if repeated := next((key for key in names if names.count(key) > 1), None):
        raise InvalidParameterError(
            f"'{name}' has two values of '{repeated}'.", hint="Write one of them.", parameter=f"workflow.{name}"
        )
    return {key: _parse_value(value.strip()) for key, (_, _, value) in zip(names, pairs, strict=True)}


def _parse_value(text: str) -> Any:
    """Return a JSON value, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
