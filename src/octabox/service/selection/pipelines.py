"""Choose the pipeline of a model that serves a request, by its task and its inputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import settable_parameters
from octabox.catalog.tasks import task_inputs
from octabox.errors import InvalidParameterError, RequestError, TaskNotFoundError, UnknownParameterError, nearest
from octabox.service.served_model import ServedModel


def choose_pipeline(
    catalog: Catalog, model: ServedModel, task: str | None, files: Collection[str] = ()
) -> tuple[PipelineEntry, str]:
    """Return the pipeline that serves a request, and the task that it serves.

    The pipeline takes all files of the request and requires no other: the class of the model if it does, else the most
    similar of its siblings that serve the task.

    Args:
        catalog: All pipelines.
        model: The model.
        task: Hub task tag, or an alias of it; None if the files decide.
        files: Names of the call parameters that the request has files for.

    Raises:
        TaskNotFoundError: The model does not serve this task.
        UnknownParameterError: No pipeline of the model takes these files together.
        InvalidParameterError: A file is given for a parameter that takes a value.
    """
    tag = None if task is None else catalog.task(task)
    family = model.family(catalog)
    serving = [entry for entry in family if (entry.tasks if tag is None else tag in entry.tasks)]
    if not serving:
        raise _unknown_task(family, tag)
    # A file of a field such as `conditions.0.frames` is for the parameter `conditions`.
    names = frozenset(name.partition(".")[0] for name in files)
    if serving[0] is model.pipeline and _takes(model.pipeline, names):
        return model.pipeline, tag or _task_of(model.pipeline, frozenset(files))
    candidates = [entry for entry in serving if _takes(entry, names)]
    if not candidates:
        taking = [entry for entry in serving if names <= entry.files()]
        if not taking:
            raise _unknown_files(family, names)
        # A required file is missing, which the validation of the parameters reports.
        candidates = taking[:1]
    if candidates[0] is model.pipeline:
        best = candidates[0]
    else:
        best = min(candidates, key=lambda entry: _distance(entry, candidates, tag, model.extra))
    return best, tag or _task_of(best, frozenset(files))


def default_pipeline(catalog: Catalog, model: ServedModel, task: str | None) -> tuple[PipelineEntry, str]:
    """Return the pipeline of a model for a request without files, and its task; the model's class, if no task is given."""
    if task is None and model.pipeline.tasks:
        return model.pipeline, model.pipeline.tasks[0]
    return choose_pipeline(catalog, model, task)


def _takes(entry: PipelineEntry, files: frozenset[str]) -> bool:
    """Return whether a pipeline takes files, and requires no others."""
    return entry.files(required=True) <= files <= entry.files()


def _distance(
    entry: PipelineEntry, candidates: Sequence[PipelineEntry], tag: str | None, extra: frozenset[str]
) -> tuple[int, ...]:
    """Return how far a pipeline is from the request; one that uses the extra components of the model is closest."""
    uses_extra = bool(extra & {part.name for part in entry.components})
    rank = entry.tasks.index(tag) if tag else 0
    return (extra != frozenset() and not uses_extra, rank, len(entry.media()), candidates.index(entry))


def _task_of(entry: PipelineEntry, files: frozenset[str]) -> str:
    """Return the task of a request to a pipeline: the one that uses most of the files."""
    used = (entry.parameter(name) for name in files)
    kinds = {parameter.kind for parameter in used if parameter is not None and parameter.is_media}
    possible = [task for task in entry.tasks if task_inputs(task) <= kinds]
    return max(possible, key=lambda task: len(task_inputs(task)), default=entry.tasks[0])


def _unknown_task(family: tuple[PipelineEntry, ...], tag: str | None) -> TaskNotFoundError:
    """Return the error for a task that a model does not serve, or for a model without any task."""
    tasks, name = tuple(dict.fromkeys(task for entry in family for task in entry.tasks)), family[0].name
    if not tasks:
        return TaskNotFoundError(
            f"{name} serves no task, since the type of its output is not known.",
            hint="Its call must be annotated with the class of its output.",
        )
    return TaskNotFoundError(
        f"A model of {name} cannot do {tag}.", hint=f"It can do: {', '.join(tasks)}.", choices=tasks
    )


def _unknown_files(family: tuple[PipelineEntry, ...], files: frozenset[str]) -> RequestError:
    """Return the error for files that no pipeline of a model takes together."""
    known = frozenset[str]().union(*(entry.files() for entry in family))
    unknown = sorted(files - known) or sorted(files)
    values = {each.name for entry in family for each in settable_parameters(entry)} - known
    if misplaced := [name for name in unknown if name in values]:
        name = misplaced[0]
        return InvalidParameterError(f"'{name}' takes no file.", hint="Give it as a value.", parameter=name)
    tasks = dict.fromkeys(task for entry in family for task in entry.tasks)
    close = [] if unknown[0] in known else nearest(unknown[0], sorted(known))
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Its tasks are {', '.join(tasks)}."
    return UnknownParameterError(
        f"No pipeline of this model takes {' and '.join(unknown)}.", hint=hint, parameter=unknown[0], choices=close
    )
