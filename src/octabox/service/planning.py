"""Turn a request into a call: which pipeline, with which parameters, for which seeds."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import validate
from octabox.config.model import ModelConfig
from octabox.config.schedulers import scheduler_of
from octabox.errors import InvalidParameterError, UnknownParameterError
from octabox.types import MAX_SEED, GenerationRequest, SchedulerChoice, Source

#: Call parameters that ask for several outputs of one prompt; in a request that is `num_outputs`.
OUTPUTS_PER_PROMPT = re.compile(r"num_\w+_per_prompt")

#: Seeds that are drawn by lot stay below this, so that they are easy to type again.
DRAWN_SEEDS = 2**32


@dataclass(frozen=True)
class Limits:
    """How much one request may ask for.

    Args:
        outputs: Outputs in all.
        pixels: Pixels of one picture.
    """

    outputs: int = 10
    pixels: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class ServedModel:
    """A model whose pipeline class is known."""

    config: ModelConfig
    own: PipelineEntry


@dataclass(frozen=True)
class Plan:
    """A request, resolved and checked; its media are still as the client gave them.

    Args:
        pipeline: What is to be called.
        task: Hub task tag that is served.
        runs: Parameters of each run, and its seed.
        media: Media by call parameter.
        scheduler: The noise scheduler by class name; None is the model's own.
        warnings: What is not honoured.
    """

    pipeline: PipelineEntry
    task: str
    runs: tuple[tuple[Mapping[str, Any], int], ...]
    media: Mapping[str, tuple[Source, ...]]
    scheduler: SchedulerChoice | None
    warnings: tuple[str, ...] = ()


def plan(request: GenerationRequest, model: ServedModel, catalog: Catalog, limits: Limits) -> Plan:
    """Resolve and check a request.

    Raises:
        RequestError: Something about it is wrong; all that is wrong is named at once.
        TaskNotFoundError: The model cannot do this task.
        SchedulerNotFoundError: There is no such scheduler.
    """
    request = _count_outputs(request)
    params, media = _part_media(request, _family(catalog, model.own))
    pipeline, task = choose(catalog, model.own, request.task, media)
    accepted = {parameter.name: parameter for parameter in pipeline.parameters}
    defaults = {name: value for name, value in model.config.defaults.items() if name in accepted}
    params = {**defaults, **{name: value for name, value in request.wishes.items() if name in accepted}, **params}
    checked = validate(pipeline, {**params, **media})
    params = {name: value for name, value in checked.items() if name not in media}
    _check_size(params, limits)
    runs = _runs(params, accepted, request, limits, model.config.seed)
    ignored = [name for name in request.wishes if name not in accepted]
    warnings = tuple(f"'{name}' has no effect: {pipeline.name} has no such parameter." for name in ignored)
    return Plan(pipeline, task, runs, media, _scheduler(request, model.config, catalog), warnings)


def choose(
    catalog: Catalog, own: PipelineEntry, task: str | None, media: Collection[str] = ()
) -> tuple[PipelineEntry, str]:
    """Return the pipeline that serves a request, and the task it serves.

    It is the sibling for the task that was asked for; without a task, the model's own class if that takes all media that the
    request brings, else the sibling that takes them and the fewest others.
    """
    if task is not None:
        entry = catalog.for_task(task, like=own.name)
        return entry, catalog.task(task)
    if set(media) <= media_names(own):
        return own, own.tasks[0]
    siblings = {sibling: catalog.for_task(sibling, like=own.name) for sibling in catalog.tasks_like(own.name)}
    fits = {
        sibling: entry
        for sibling, entry in siblings.items()
        if media_names(entry, required=True) <= set(media) <= media_names(entry)
    }
    if not fits:
        raise _no_taker(siblings, media)
    best = min(fits, key=lambda sibling: len(media_names(fits[sibling])))
    return fits[best], best


def _no_taker(siblings: Mapping[str, PipelineEntry], media: Collection[str]) -> UnknownParameterError:
    """Return the error for media that no pipeline of a model takes together."""
    unknown = sorted(set(media) - set().union(*map(media_names, siblings.values())))
    return UnknownParameterError(
        f"No pipeline of this model takes {' and '.join(unknown or sorted(media))}.",
        hint=f"Its tasks are {', '.join(siblings)}.",
        parameter=(unknown or sorted(media))[0],
    )


def media_names(entry: PipelineEntry, *, required: bool | None = None) -> set[str]:
    """Return the names of a pipeline's parameters that take media; only those that it needs, where that is said."""
    return {parameter.name for parameter in entry.media(required=required)}


def _family(catalog: Catalog, own: PipelineEntry) -> set[str]:
    """Return the names of all media parameters of a class and its siblings."""
    return set().union(*map(media_names, (own, *catalog.siblings(own.name))))


def _count_outputs(request: GenerationRequest) -> GenerationRequest:
    """Take ``num_images_per_prompt`` and its kin for what they mean."""
    params, outputs = dict(request.params), request.num_outputs
    for name in [name for name in params if OUTPUTS_PER_PROMPT.fullmatch(name)]:
        value = params.pop(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidParameterError(f"'{name}' must be a whole number from 1, not {value!r}.", parameter=name)
        outputs *= value
    return replace(request, params=params, num_outputs=outputs)


def _part_media(request: GenerationRequest, names: set[str]) -> tuple[dict[str, Any], dict[str, tuple[Source, ...]]]:
    """Part the media that stand among a request's parameters, as text, from the other parameters."""
    params, media = dict(request.params), {name: tuple(value) for name, value in request.inputs.items()}
    for name in names & set(params):
        value = params.pop(name)
        sources = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        if not sources or not all(isinstance(source, (str, bytes)) for source in sources):
            hint = "Give base64, a data URI or an http(s) URL, or a list of them."
            raise InvalidParameterError(f"'{name}' must be a picture, not {value!r}.", hint=hint, parameter=name)
        media[name] = sources
    return params, media


def _check_size(params: Mapping[str, Any], limits: Limits) -> None:
    width, height = params.get("width"), params.get("height")
    for name, value in (("width", width), ("height", height)):
        if isinstance(value, int) and value < 1:
            raise InvalidParameterError(f"'{name}' must be at least 1, not {value}.", parameter=name)
    if (width or 1) * (height or 1) > limits.pixels:
        raise InvalidParameterError(
            f"A picture of {width}x{height} has more pixels than the {limits.pixels} that are allowed.",
            hint="Ask for a smaller one, or raise `max_image_pixels`.",
            parameter="width",
        )


def _runs(
    params: Mapping[str, Any],
    accepted: Mapping[str, Parameter],
    request: GenerationRequest,
    limits: Limits,
    default_seed: int | None,
) -> tuple[tuple[Mapping[str, Any], int], ...]:
    """Return the parameters and the seed of each run: every prompt of a list, as often as outputs were asked for."""
    prompts = params.get("prompt")
    count = len(prompts) if isinstance(prompts, list) else 1
    total = count * request.num_outputs
    if not 1 <= total <= limits.outputs:
        raise InvalidParameterError(
            f"A request may ask for 1 to {limits.outputs} outputs, not {total}.",
            hint="Ask several times, or raise `max_outputs`.",
            parameter="num_outputs",
        )
    seed = default_seed if request.seed is None else request.seed
    seed = secrets.randbelow(DRAWN_SEEDS) if seed is None else seed
    if not 0 <= seed <= MAX_SEED - total:
        raise InvalidParameterError(f"'seed' must be from 0 to {MAX_SEED - total}, not {seed}.", parameter="seed")
    texts = {name for name, value in params.items() if isinstance(value, list) and accepted[name].kind == "text"}
    runs = []
    for index in range(total):
        single = {name: _one_of(name, params[name], index // request.num_outputs, count) for name in texts}
        runs.append(({**params, **single}, seed + index))
    return tuple(runs)


def _one_of(name: str, values: list[Any], place: int, count: int) -> Any:
    """Return the text of a list that belongs to a prompt."""
    if len(values) != count:
        raise InvalidParameterError(
            f"'{name}' has {len(values)} texts, and there are {count} prompts.",
            parameter=name,
            hint="Give one for each.",
        )
    return values[place]


def _scheduler(request: GenerationRequest, model: ModelConfig, catalog: Catalog) -> SchedulerChoice | None:
    """Return the scheduler of a request, or of the model's configuration, by class name."""
    choice = request.scheduler
    if choice is None and model.scheduler is not None:
        choice = SchedulerChoice(model.scheduler.name, model.scheduler.settings)
    if choice is None:
        return None
    return SchedulerChoice(*scheduler_of(choice.name, choice.settings, catalog.schedulers))
