"""Read the noise scheduler classes of a package from its source."""

from __future__ import annotations

import re
from collections.abc import Iterator

from octabox.catalog.entries import SchedulerEntry
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
    )


def _arguments(function: Function) -> Iterator[tuple[str, bool]]:
    """Yield the parameters of a function, and whether each is required."""
    positional = [*function.args.posonlyargs, *function.args.args]
    needed = len(positional) - len(function.args.defaults)
    yield from ((each.arg, index < needed) for index, each in enumerate(positional))
    yield from (
        (each.arg, default is None)
        for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    )
