"""Options for settings, derived from the fields of `Settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click

from octabox.config.settings import Settings, flag

#: Option for the file of settings.
config_option = click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of settings."
)


def settings_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds an option for each named setting, by default for all settings.

    Options that are not used are None, so that the file and the environment apply.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names or tuple(Settings.model_fields)):
            command = click.option(flag(name), name, **_option_arguments(name))(command)
        return command

    return decorate


def load_settings(flags: Mapping[str, Any] | None = None, config: Path | None = None) -> Settings:
    """Return the settings of a command, and print what is wrong with the environment.

    Args:
        flags: Settings of the command line.
        config: File of settings.

    Raises:
        ConfigError: The file cannot be read, or a value is invalid.
    """
    settings = Settings.load(flags, config)
    for warning in settings.warnings:
        click.secho(warning, fg="yellow", err=True)
    return settings


def _option_arguments(name: str) -> dict[str, Any]:
    """Return the arguments of `click.option` for a setting."""
    field = Settings.model_fields[name]
    arguments: dict[str, Any] = {"default": None, "help": field.description}
    field_type = _unwrap_optional(field.annotation)
    if field_type is bool:
        return {**arguments, "is_flag": True, "flag_value": field.default is not True}
    if field_type in {int, float}:
        return {**arguments, "type": field_type}
    if field_type is Path:
        return {**arguments, "type": click.Path(path_type=Path)}
    if get_origin(field_type) is Literal:
        return {**arguments, "type": click.Choice(get_args(field_type), case_sensitive=False)}
    if get_origin(field_type) is tuple:
        return {**arguments, "metavar": "TEXT,..."}
    return arguments


def _unwrap_optional(annotation: Any) -> Any:
    """Return the type of an annotation such as ``Path | None``."""
    if get_origin(annotation) in {Union, UnionType}:
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation
