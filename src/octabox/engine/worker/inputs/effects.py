"""Find the parameters of a call that have no effect, since the pipeline reads them only under conditions that do not hold."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffusers import ConfigMixin, DiffusionPipeline
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn import Module

from octabox.catalog.reading.effects.evaluation import CallValues
from octabox.catalog.reading.effects.reads import Conditions, find_reads
from octabox.catalog.reading.effects.values import ClassMethods
from octabox.catalog.reading.syntax import Function

#: The key of attention arguments that scales LoRAs, and the function by which a denoiser does that.
SCALE, SCALE_LORAS = "scale", "scale_lora_layers"

#: Part of the modules of classes that load weights, which read no parameters of a call.
LOADERS = "loaders"


def effect_warnings(pipe: Any, arguments: Mapping[str, Any], requested: Mapping[str, Any]) -> list[str]:
    """Return a warning for each requested parameter that is proved to have no effect.

    Args:
        pipe: The pipeline.
        arguments: All arguments of the call.
        requested: The parameters of the request.
    """
    cls = type(pipe)
    signature = inspect.signature(cls.__call__).parameters
    defaults = {name: each.default for name, each in signature.items() if each.default is not inspect.Parameter.empty}
    names = [name for name, value in requested.items() if name in defaults and not _is_default(value, defaults[name])]
    values = CallValues(pipe, {**defaults, **arguments}, (ConfigMixin, Module))
    found: list[str] = []
    for name in names:
        reasons = _reasons(cls, name, values)
        if reasons is not None:
            found.append(f"'{name}' has no effect{''.join(f' {each}' for each in reasons[:1])}.")
        elif _only_scales_loras(pipe, name, requested[name]):
            found.append(f"'{name}' has no effect without a LoRA: it only scales LoRAs.")
    return found


def _only_scales_loras(pipe: Any, name: str, value: Any) -> bool:
    """Return whether a parameter scales the LoRAs of a denoiser and does nothing else, and there are no LoRAs."""
    if not isinstance(value, Mapping) or set(value) != {SCALE}:
        return False
    modules = [each for each in pipe.components.values() if isinstance(each, Module)]
    readers = [each.forward for each in modules if name in inspect.signature(each.forward).parameters]
    if not readers or not all(any(SCALE_LORAS in each for each in _names_in(reader)) for reader in readers):
        return False
    return not any(isinstance(layer, BaseTunerLayer) for module in modules for layer in module.modules())


def _names_in(function: Any) -> Iterator[tuple[str, ...]]:
    """Yield the names in a function and in those that it wraps."""
    while function is not None:
        yield getattr(getattr(function, "__code__", None), "co_names", ())
        function = getattr(function, "__wrapped__", None)


def _is_default(value: Any, default: Any) -> bool:
    """Return whether a value is the default, or nothing; arrays and media are neither."""
    if isinstance(value, str | list | tuple | dict) and not value:
        return True
    return value is None or (isinstance(value, str | int | float | list | tuple | dict) and bool(value == default))


def _reasons(cls: type, parameter: str, values: CallValues) -> list[str] | None:
    """Return why no place that reads a parameter is reached, the most frequent reason first; None if one may be."""
    reasons: Counter[str] = Counter()
    for conditions in _reads(cls, parameter):
        failed = next((each for each in conditions if values.truth(each) is False), None)
        if failed is None:
            return None
        reasons.update(set(values.explain(failed, is_true=False)))
    return sorted(reasons, key=lambda reason: (-reasons[reason], len(reason), reason))


class _Reads:
    """The places where a class reads a parameter, found as far as they are needed.

    Args:
        cls: The class of a pipeline.
        parameter: The name of the parameter.
    """

    def __init__(self, cls: type, parameter: str) -> None:
        self._found: list[Conditions] = []
        self._others = _find(cls, parameter)

    def __iter__(self) -> Iterator[Conditions]:
        yield from self._found
        for conditions in self._others:
            self._found.append(conditions)
            yield conditions


def _find(cls: type, parameter: str) -> Iterator[Conditions]:
    """Yield the conditions of each place where a class reads a parameter; no condition if the source does not show them."""
    try:
        yield from find_reads(_methods(cls), parameter)
    except (RecursionError, OSError, SyntaxError, TypeError, LookupError):
        yield ()


@lru_cache(maxsize=256)
def _reads(cls: type, parameter: str) -> _Reads:
    """Return the places where a class reads a parameter."""
    return _Reads(cls, parameter)


@lru_cache(maxsize=16)
def _methods(cls: type) -> ClassMethods:
    """Return the methods of a pipeline class; of those of the base class and of loaders, the words in their source."""
    methods: dict[str, Function] = {}
    words: set[str] = set()
    for ancestor in cls.__mro__:
        if ancestor is object:
            continue
        text = Path(inspect.getfile(ancestor)).read_bytes()
        if ancestor in DiffusionPipeline.__mro__ or LOADERS in ancestor.__module__.split("."):
            words |= {each.decode() for each in re.findall(rb"\b[A-Za-z_]\w*", text)}
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == ancestor.__name__:
                methods = {part.name: part for part in node.body if isinstance(part, Function)} | methods
    return ClassMethods(methods, frozenset(words))
