"""Derive the configuration of a ControlNet in a single file from that of the denoiser and the shapes of its tensors.

A ControlNet is trained from a copy of a part of the denoiser, whose settings it has under the same names. What it has in
addition, such as the channels of the layers for the control image, is found by building it with other values: a size
belongs to the setting with which it changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from octabox.hub.checkpoints.tensors import Shapes
from octabox.security.json_files import write_json
from octabox.security.temporary_folder import TemporaryFolder

#: What a value is increased by to see which sizes change, and the most values of a setting with several.
STEP, MAX_VALUES = 8, 8


@contextmanager
def derived_config(cls: Any, shapes: Shapes, denoiser: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the arguments of `from_single_file` for a derived configuration; none without one of the denoiser.

    Args:
        cls: Class of the ControlNet.
        shapes: The shapes of its tensors by name.
        denoiser: Configuration of the denoiser; empty if it is not known.
    """
    if not denoiser:
        yield {}
        return
    with TemporaryFolder() as folder:
        write_json(folder / "config.json", {"_class_name": cls.__name__, **derive_settings(cls, shapes, denoiser)})
        yield {"config": str(folder)}


def derive_settings(cls: Any, shapes: Shapes, denoiser: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a ControlNet; those that do not follow from the sizes of its tensors have their defaults.

    Args:
        cls: Its class.
        shapes: The shapes of its tensors by name; in another layout than that of diffusers no size is known.
        denoiser: Configuration of the denoiser.
    """
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    settings = {each.name: denoiser[each.name] for each in parameters if each.name in denoiser}
    added = [each for each in parameters if each.name not in denoiser and _sizes_of(each.default)]
    # The number of layers decides which tensors there are.
    for parameter in sorted(added, key=lambda each: not isinstance(each.default, tuple)):
        several = isinstance(parameter.default, tuple)
        for count in _counts(len(_sizes_of(parameter.default)), several=several):
            values = [*_sizes_of(parameter.default), *[STEP] * MAX_VALUES][:count]
            base = _build(cls, {**settings, parameter.name: tuple(values) if several else values[0]})
            if base is not None and base.keys() == shapes.keys():
                found = _read_values(cls, settings, parameter.name, values, base, shapes, several=several)
                settings[parameter.name] = found if several else found[0]
                break
    base = _build(cls, settings)
    if base is not None and base.keys() == shapes.keys() and base != dict(shapes):
        # That of a denoiser for inpainting takes more channels than its ControlNets.
        for name in [name for name, value in settings.items() if name in denoiser and type(value) is int and value > 0]:
            settings[name], *_ = _read_values(cls, settings, name, [settings[name]], base, shapes, several=False)
    return settings


def _read_values(
    cls: Any, settings: dict[str, Any], name: str, values: list[int], base: Shapes, shapes: Shapes, *, several: bool
) -> list[int]:
    """Return the values of a setting with which the tensors have their sizes."""
    found = list(values)
    for index, value in enumerate(values):
        changed = [*values[:index], value + STEP, *values[index + 1 :]]
        other = _build(cls, {**settings, name: tuple(changed) if several else changed[0]}) or {}
        sizes = {
            shapes[key][axis]
            for key, shape in other.items()
            if len(shape) == len(shapes.get(key, ()))
            for axis, size in enumerate(shape)
            if size == value + STEP and base[key][axis] == value
        }
        if len(sizes) == 1:
            found[index] = sizes.pop()
    return found


def _counts(default: int, *, several: bool) -> list[int]:
    """Return the numbers of values to try, the default first."""
    return [default, *(count for count in range(1, MAX_VALUES + 1) if count != default)] if several else [1]


def _sizes_of(default: Any) -> tuple[int, ...]:
    """Return the default of a setting that is a size or several; empty for any other."""
    values = default if isinstance(default, tuple) else (default,)
    return values if all(type(each) is int and each > 0 for each in values) else ()


def _build(cls: Any, settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of a component with these settings, which takes no memory; None if it cannot be built."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in cls(**settings).state_dict().items()}
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError):
        return None
