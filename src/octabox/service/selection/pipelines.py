"""Choose the pipeline that serves a request: among a model's own class and its siblings, by the task and by what it brings."""

from __future__ import annotations

from collections.abc import Collection

from octabox.catalog.entries import MEDIA, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import settable_parameters
from octabox.catalog.tasks import task_inputs
from octabox.errors import InvalidParameterError, RequestError, TaskNotFoundError, UnknownParameterError, nearest


def choose(
    catalog: Catalog,
    own: PipelineEntry,
    task: str | None,
    files: Collection[str] = (),
    extra: frozenset[str] = frozenset(),
    *,
    alone: bool = False,
) -> tuple[PipelineEntry, str]:
    """Return the pipeline that serves a request, and the task it serves.

    It is one that takes all files that the request brings and needs no other: the model's own class if it does, else the
    likest of its siblings that serve the task.

    Args:
        catalog: All pipelines.
        own: The model's own class.
        task: Hub task tag, or another name of it; None lets the files decide.
        files: Names of the call parameters that the request brings files for.
        extra: Components that the model has beside those of its class.
        alone: Whether no sibling runs on its weights.

    Raises:
        TaskNotFoundError: The model cannot do this task.
        UnknownParameterError: No pipeline of the model takes these files together.
        InvalidParameterError: A file is given for a parameter that takes a value.
    """
    tag = None if task is None else catalog.task(task)
    family = family_of(catalog, own, extra, alone=alone)
    serving = [entry for entry in family if (entry.tasks if tag is None else tag in entry.tasks)]
    if not serving:
        raise _cannot(family, tag)
    given = frozenset(files)
    fitting = [entry for entry in serving if entry.files(required=True) <= given <= entry.files()]
    if not fitting:
        taking = [entry for entry in serving if given <= entry.files()]
        if not taking:
            raise _no_taker(family, given)
        # Something is missing, which the check of the parameters will name.
        fitting = taking[:1]
    best = fitting[0] if fitting[0] is own else min(fitting, key=lambda entry: _distance(entry, fitting, tag, extra))
    return best, tag or _served(best, given)


def family_of(
    catalog: Catalog, own: PipelineEntry, extra: frozenset[str] = frozenset(), *, alone: bool = False
) -> tuple[PipelineEntry, ...]:
    """Return a model's own class and all others that run on its weights."""
    return (own,) if alone else (own, *catalog.siblings(own.name, extra))


def _distance(
    entry: PipelineEntry, fitting: list[PipelineEntry], tag: str | None, extra: frozenset[str]
) -> tuple[int, ...]:
    """Return how far a sibling is from what was asked for: one that uses what was configured beside the model is nearest."""
    uses_extra = bool(extra & {part.name for part in entry.components})
    place = entry.tasks.index(tag) if tag else 0
    return (extra != frozenset() and not uses_extra, place, len(entry.media()), fitting.index(entry))


def _served(entry: PipelineEntry, given: frozenset[str]) -> str:
    """Return the task of a class that a request with these files is for: that which they are most of."""
    kinds = {parameter.kind for parameter in entry.parameters if parameter.name in given and parameter.kind in MEDIA}
    possible = [task for task in entry.tasks if task_inputs(task) <= kinds]
    return max(possible, key=lambda task: len(task_inputs(task)), default=entry.tasks[0])


def _cannot(family: tuple[PipelineEntry, ...], tag: str | None) -> TaskNotFoundError:
    """Return the error for a task that a model cannot do, and for a model of which no task is known."""
    can, own = tuple(dict.fromkeys(task for entry in family for task in entry.tasks)), family[0].name
    if not can:
        return TaskNotFoundError(
            f"Nothing tells what {own} makes, so that it serves no task.",
            hint="Its call must be annotated with the class of its output.",
        )
    return TaskNotFoundError(f"A model of {own} cannot do {tag}.", hint=f"It can do: {', '.join(can)}.", choices=can)


def _no_taker(family: tuple[PipelineEntry, ...], given: frozenset[str]) -> RequestError:
    """Return the error for files that no pipeline of a model takes together."""
    known = frozenset[str]().union(*(entry.files() for entry in family))
    unknown = sorted(given - known) or sorted(given)
    values = {each.name for entry in family for each in settable_parameters(entry)} - known
    if plain := [name for name in unknown if name in values]:
        return InvalidParameterError(f"'{plain[0]}' takes no file.", hint="Give it as a value.", parameter=plain[0])
    tasks = dict.fromkeys(task for entry in family for task in entry.tasks)
    like = [] if unknown[0] in known else nearest(unknown[0], sorted(known))
    hint = f"Did you mean {' or '.join(like)}?" if like else f"Its tasks are {', '.join(tasks)}."
    return UnknownParameterError(
        f"No pipeline of this model takes {' and '.join(unknown)}.", hint=hint, parameter=unknown[0], choices=like
    )
