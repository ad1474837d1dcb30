"""Read every noise scheduler of a package from its source."""

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

#: The method that chooses the steps of a run; what has none is no scheduler, though diffusers files it as one.
PLAN = "set_timesteps"

#: Parameters of a step that every pipeline fills.
STEP = ("self", "model_output", "timestep", "sample")

#: What the docstring of a class says that turns an image into noise.
REVERSE = re.compile(r"\breverse scheduler\b")


def read_schedulers(tree: SourceTree, packages: DependencyReader) -> tuple[SchedulerEntry, ...]:
    """Return an entry for each scheduler, by name."""
    found = (owner for owner in tree.subclasses(SCHEDULER) if owner.name != SCHEDULER and tree.function(owner, PLAN))
    unread = UnusedSettings(tree)
    return tuple(sorted((_scheduler(tree, owner, packages, unread) for owner in found), key=lambda entry: entry.name))


def _scheduler(
    tree: SourceTree, owner: ClassSource, packages: DependencyReader, unread: UnusedSettings
) -> SchedulerEntry:
    located = tree.function(owner, "__init__")
    settings = call_parameters(tree, *located) if located else ()
    step, plan = tree.function(owner, "step"), tree.function(owner, PLAN)
    asked = tuple(name for name, needed in _arguments(step[1]) if needed and name not in STEP) if step else ("step",)
    description = first_sentence(owner.doc)
    return SchedulerEntry(
        owner.name,
        owner.module,
        settings,
        description,
        packages.needs(owner),
        step_needs=asked,
        timesteps=plan is not None and "timesteps" in dict(_arguments(plan[1])),
        sigmas=plan is not None and "sigmas" in dict(_arguments(plan[1])),
        reverses=bool(REVERSE.search(description)),
        unread=unread.find(owner, [setting.name for setting in settings]),
    )


def _arguments(function: Function) -> Iterator[tuple[str, bool]]:
    """Yield the parameters of a function, and whether each must be given."""
    plain = [*function.args.posonlyargs, *function.args.args]
    needed = len(plain) - len(function.args.defaults)
    yield from ((each.arg, index < needed) for index, each in enumerate(plain))
    yield from (
        (each.arg, default is None)
        for each, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    )
