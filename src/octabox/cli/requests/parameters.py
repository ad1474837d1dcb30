"""Options of `octabox run` for call parameters: by diffusers' names, and by the short names of the HTTP APIs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.errors import InvalidParameterError, MediaError

if TYPE_CHECKING:
    from octabox.types import AdapterChoice, SchedulerChoice

#: Options for call parameters: the value, and the help text. Each is a call parameter, or an alias of one in the HTTP APIs.
SHORT_OPTIONS = {
    "steps": ("N", "Number of denoising steps: num_inference_steps."),
    "size": ("WIDTHxHEIGHT", "Size in pixels, such as 512x512."),
    "width": ("PIXELS", "Width in pixels."),
    "height": ("PIXELS", "Height in pixels."),
    "cfg": ("NUMBER", "Scale of classifier-free guidance: guidance_scale."),
    "negative": ("TEXT", "What the result must not show: negative_prompt."),
    "strength": ("NUMBER", "How much an input image is changed, from 0 to 1."),
}

#: Options for input files: the input, and the help text.
FILE_OPTIONS = {
    "image": ("image", "Input image."),
    "mask": ("mask_image", "Mask of an input image; white is repainted."),
}


def parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for call parameters and inputs to a command."""
    for name, (_, text) in reversed(FILE_OPTIONS.items()):
        command = click.option(f"--{name}", metavar="FILE", help=text)(command)
    for name, (value, text) in reversed(SHORT_OPTIONS.items()):
        command = click.option(f"--{name}", metavar=value, help=text)(command)
    text = "An image, video, audio or .npy array for a call parameter."
    command = click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=FILE", help=text)(command)
    text = "A call parameter of the pipeline."
    return click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help=text)(command)


def pop_parameters(options: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Remove these options from a command's options, and return the names and texts of parameters and of inputs.

    Raises:
        InvalidParameterError: A parameter or an input has another form than NAME=VALUE.
    """
    params = [_split(text, "A parameter", "NAME=VALUE", "-p guidance_scale=3") for text in options.pop("params")]
    inputs = [_split(text, "An input", "NAME=FILE", "-i image=photo.png") for text in options.pop("inputs")]
    params += [(name, text) for name in SHORT_OPTIONS if (text := options.pop(name)) is not None]
    inputs += [(kind, text) for name, (kind, _) in FILE_OPTIONS.items() if (text := options.pop(name)) is not None]
    return params, inputs


def _split(text: str, what: str, form: str, example: str) -> tuple[str, str]:
    """Return the two sides of the first equals sign."""
    name, equals, value = text.partition("=")
    if not (name and equals) or (form.endswith("FILE") and not value):
        raise InvalidParameterError(f"{what} must be {form}, not '{text}'.", hint=f"Write for example: {example}")
    return name, value


def parse_parameters(
    texts: Iterable[tuple[str, str]], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return call parameters by diffusers' names, and the names on the command line of those that differ.

    Args:
        texts: Names and values. A value is JSON, except for parameters that take text.
        properties: JSON Schemas of the pipeline's parameters. A parameter of the pipeline takes precedence over an alias.

    Raises:
        InvalidParameterError: Two names are the same parameter, or the size is invalid.
    """
    from octabox.frontends.naming.parameters import ALIASES, IMAGES, requested_size

    params: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, text in texts:
        parameter = name if name in properties or name in IMAGES else ALIASES.get(name, name)
        if parameter in params:
            other = names[parameter]
            what = f"'{name}' has two values" if name == other else f"'{other}' and '{name}' are the same parameter"
            raise InvalidParameterError(f"{what}.", hint="Write one of them.", parameter=name)
        params[parameter] = _parse_value(text, properties.get(parameter, {}))
        names[parameter] = name
    if "size" in params and "size" not in properties:
        size = requested_size(str(params.pop("size")), params)
        params |= size
        names |= dict.fromkeys(size, "size")
    return params, {parameter: name for parameter, name in names.items() if parameter != name}


def _parse_value(value: str, schema: Mapping[str, Any]) -> Any:
    variants = [schema, *schema.get("anyOf", [])]
    takes_text = any("string" in (variant.get("type") or ()) for variant in variants)
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if takes_text and not isinstance(parsed, (list, dict)) else parsed


def read_inputs(texts: Iterable[tuple[str, str]]) -> dict[str, tuple[bytes | str, ...]]:
    """Return the contents of input files by name; URLs are kept, and a repeated name is a list.

    Args:
        texts: Names, and files or URLs.

    Raises:
        MediaError: A file cannot be read.
    """
    inputs: dict[str, tuple[bytes | str, ...]] = {}
    for name, source in texts:
        try:
            # A shell leaves the ~ of image=~/x.png; pathlib raises on users that do not exist.
            path = Path(os.path.expanduser(source))  # noqa: PTH111
            content = source if source.startswith(("http://", "https://")) else path.read_bytes()
        except OSError as error:
            raise MediaError(f"'{source}' cannot be read: {error.strerror}.", parameter=name) from error
        inputs[name] = (*inputs.get(name, ()), content)
    return inputs


@contextlib.contextmanager
def hinting_files(texts: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Add to an error about a medium within the context how a file is named, if the medium was set as a text.

    Args:
        texts: Names and texts of call parameters.
    """
    try:
        yield
    except MediaError as error:
        if (name := error.parameter) in {name for name, _ in texts}:
            error.hint = f"A file is named by -i {name}=FILE, in the prompt line by /input {name} FILE. {error.hint}"
        raise


def parse_scheduler(text: str | dict[str, Any] | None) -> SchedulerChoice | None:
    """Parse a scheduler: a name, JSON with settings, or a mapping of metadata.

    Raises:
        InvalidParameterError: The JSON is invalid.
    """
    from octabox.schedulers.names import parse_scheduler_choice

    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return parse_scheduler_choice(text)
    try:
        return parse_scheduler_choice(json.loads(text))
    except ValueError as error:
        raise InvalidParameterError(f"'scheduler' is not valid JSON: {error}.", parameter="scheduler") from error


def parse_lora(text: str) -> AdapterChoice:
    """Parse ``name`` or ``name:weight``; a colon that is not followed by a number belongs to the name."""
    from octabox.types import AdapterChoice

    name, _, weight = text.rpartition(":")
    try:
        return AdapterChoice(name or text, float(weight) if name else 1.0)
    except ValueError:
        return AdapterChoice(text)
