"""Read the noise scheduler classes of a package from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from octabox.catalog.entries import Parameter, SchedulerEntry
from octabox.catalog.reading.docstrings import first_sentence
from octabox.catalog.reading.packages import SCHEDULER, DependencyReader
from octabox.catalog.reading.parameters import call_parameters
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function
from octabox.catalog.reading.unused_settings import UnusedSettings

#: Method that sets the timesteps; a class without it is not a usable scheduler.
SET_TIMESTEPS = "set_timesteps"

#: Parameters of a step that all pipelines pass.
STEP = ("self", "model_output", "timestep", "sample")

#: Kinds of the parameters of a step that a request may set.
SETTABLE = frozenset({"number", "integer", "boolean"})

#: Part of the docstring of schedulers that invert an image into noise.
REVERSE = re.compile(r"\breverse scheduler\b")


def read_schedulers(tree: SourceTree, packages: DependencyReader) -> tuple[SchedulerEntry, ...]:
    """Return the entries of all schedulers, sorted by name."""
    found = (
        owner for owner in tree.subclasses(SCHEDULER) if owner.name != SCHEDULER and tree.function(owner, SET_TIMESTEPS)
    )
    unused = UnusedSettings(tree)
    return tuple(sorted((_scheduler(tree, owner, packages, unused) for owner in found), key=lambda entry: entry.name))


def _scheduler(
    tree: SourceTree, owner: ClassSource, packages: DependencyReader, unused: UnusedSettings
) -> SchedulerEntry:
    located = tree.function(owner, "__init__")
    settings = call_parameters(tree, *located) if located else ()
    step, setter = tree.function(owner, "step"), tree.function(owner, SET_TIMESTEPS)
    needs = tuple(name for name, needed in _arguments(step[1]) if needed and name not in STEP) if step else ("step",)
    description = first_sentence(owner.doc)
    return SchedulerEntry(
        owner.name,
        owner.module,
        settings,
        description,
        packages.needs(owner),
        step_needs=needs,
        timesteps=setter is not None and "timesteps" in dict(_arguments(setter[1])),
        sigmas=setter is not None and "sigmas" in dict(_arguments(setter[1])),
        reverses=bool(REVERSE.search(description)),
        unread=unused.find(owner, [setting.name for setting in settings]),
        step_settings=tuple(_step_settings(call_parameters(tree, *step), step[1], settings)) if step else (),
    )


def _step_settings(
    parameters: Iterable[Parameter], step: Function, settings: Iterable[Parameter]
) -> Iterator[Parameter]:
    """Yield the parameters of a step that a request may set: values with a default that the step reads."""
    read = {node.id for node in ast.walk(step) if isinstance(node, ast.Name)}
    constructor = {each.name for each in settings}
    for each in parameters:
        is_value = not each.required and each.kind in SETTABLE and each.default is not None
        if is_value and each.name in read and each.name not in {*constructor, *STEP}:
            yield each


def _arguments(function: Function) -> Iterator[tuple[str, bool]]:
    """Yield the parameters of a function, and whether each is required."""
    positional = [*function.args.posonlyargs, *function.args.args]
    needed = len(positional) - len(function.args.defaults)
    yield from ((each.arg, index < needed) for index, each in enumerate(positional))
    yield from (
        (each.arg, default is None)
        for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    )
