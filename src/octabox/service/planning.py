"""Turn a request into a call: which pipeline, with which parameters, for which seeds."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.conditions.ip_adapter import with_scale
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import is_one_each, takes_numbers, validate
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError, UnknownParameterError
from octabox.schedulers.compatibility import check_settings, timesteps_of
from octabox.schedulers.names import scheduler_of
from octabox.service.bounds import Limits, check_amounts, check_bounds, check_texts
from octabox.service.conditions.control import check_control_inputs
from octabox.service.conditions.ip_adapter import with_image_prompts
from octabox.service.outputs import output_arguments
from octabox.service.selection.pipelines import choose, family_of
from octabox.service.served_model import ServedModel
from octabox.types import MAX_SEED, GenerationRequest, SchedulerChoice, Source

#: Call parameters that ask for several outputs of one prompt; in a request that is `num_outputs`.
OUTPUTS_PER_PROMPT = re.compile(r"num_\w+_per_prompt")

#: How an error calls what a parameter takes.
PHRASES = {"image": "an image", "mask": "a mask", "video": "a video", "audio": "an audio"}

#: What a request brings for a parameter: files, or nested lists of numbers.
Files = Mapping[str, tuple[Source | list[Any], ...]]

#: Seeds that are drawn at random stay below this, so that they are easy to type again.
DRAWN_SEEDS = 2**32


@dataclass(frozen=True)
class Plan:
    """A request, resolved and checked; its media are still as the client gave them.

    Args:
        pipeline: What is to be called.
        task: Hub task tag that is served.
        runs: Parameters of each run, and its seed.
        files: Media and arrays by call parameter.
        scheduler: The noise scheduler by class name; None is the model's own.
        warnings: What is not honoured.
    """

    pipeline: PipelineEntry
    task: str
    runs: tuple[tuple[Mapping[str, Any], int], ...]
    files: Files
    scheduler: SchedulerChoice | None
    warnings: tuple[str, ...] = ()


def plan(request: GenerationRequest, model: ServedModel, catalog: Catalog, limits: Limits) -> Plan:
    """Resolve and check a request.

    Raises:
        RequestError: Something about it is wrong; all that is wrong is named at once.
        TaskNotFoundError: The model cannot do this task.
        SchedulerNotFoundError: There is no such scheduler.
    """
    check_bounds(request)
    request = _count_outputs(request)
    params, files = _part_files(request, _file_parameters(catalog, model))
    pipeline, task = _chosen(request, model, catalog, params, files)
    pipeline = with_scale(pipeline, tuple(each.scale for each in model.config.ip_adapters))
    accepted = {parameter.name: parameter for parameter in pipeline.parameters}
    defaults = {name: value for name, value in model.config.defaults.items() if name in accepted}
    wishes = {name: value for name, value in request.wishes.items() if name in accepted}
    checked = validate(pipeline, {**defaults, **wishes, **params}, files)
    check_texts(checked)
    check_control_inputs(pipeline, model.config, checked, files)
    checked, idle = with_image_prompts(pipeline, model.config, checked, files)
    checked |= output_arguments(request.output, pipeline)
    check_amounts(checked, limits)
    runs = _runs(checked, accepted, request, limits, model.config.seed)
    ignored = [name for name in request.wishes if name not in accepted]
    warnings = tuple(f"'{name}' has no effect: {pipeline.name} has no such parameter." for name in ignored)
    scheduler, caveat = _scheduler(request, model.config, pipeline, catalog)
    return Plan(pipeline, task, runs, files, scheduler, (*warnings, *idle, *caveat))


def _chosen(
    request: GenerationRequest, model: ServedModel, catalog: Catalog, params: Mapping[str, Any], files: Files
) -> tuple[PipelineEntry, str]:
    """Return the pipeline and the task of a request; where no pipeline takes its files, all else that is wrong is named too."""
    try:
        return choose(catalog, model.own, request.task, files, model.extra, alone=model.alone)
    except (UnknownParameterError, InvalidParameterError) as first:
        own = {name: given for name, given in files.items() if name in model.own.files()}
        try:
            validate(model.own, params, own)
        except InvalidRequestError as others:
            raise InvalidRequestError([first, *others.problems]) from None
        except RequestError as other:
            raise InvalidRequestError([first, other]) from None
        raise


def _file_parameters(catalog: Catalog, model: ServedModel) -> dict[str, Parameter]:
    """Return all parameters that may come as files, of a model's class and its siblings."""
    family = reversed(family_of(catalog, model.own, model.extra, alone=model.alone))
    return {each.name: each for entry in family for each in entry.parameters if each.is_file}


def _count_outputs(request: GenerationRequest) -> GenerationRequest:
    """Take ``num_images_per_prompt`` and its kin for what they mean."""
    params, outputs = dict(request.params), request.num_outputs
    for name in [name for name in params if OUTPUTS_PER_PROMPT.fullmatch(name)]:
        value = params.pop(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidParameterError(f"'{name}' must be a whole number from 1, not {value!r}.", parameter=name)
        outputs *= value
    return replace(request, params=params, num_outputs=outputs)


def _part_files(request: GenerationRequest, known: Mapping[str, Parameter]) -> tuple[dict[str, Any], Files]:
    """Part what stands among a request's parameters but is a file, as text or as lists of numbers, from the others."""
    params = dict(request.params)
    files: dict[str, tuple[Source | list[Any], ...]] = {name: tuple(each) for name, each in request.inputs.items()}
    for name in sorted(known.keys() & params.keys()):
        value, parameter = params[name], known[name]
        if value is None:
            # Nothing was given: it must not keep a class from serving that does not know the name.
            del params[name]
            continue
        if not parameter.is_media and not _is_array(value, parameter):
            continue
        if name in files:
            raise InvalidParameterError(
                f"'{name}' is given as a file and as a parameter.", hint="Give one of them.", parameter=name
            )
        del params[name]
        if parameter.is_media:
            files[name] = _sources(value, parameter)
        else:
            files[name] = tuple(value) if isinstance(value, list) and _all_text(value) else (value,)
    return params, files


def _is_array(value: Any, parameter: Parameter) -> bool:
    """Return whether a value is an array, as a file or as nested lists; plain numbers may be taken as they are."""
    if isinstance(value, str | bytes) or (isinstance(value, list) and _all_text(value)):
        return True
    return isinstance(value, list) and not takes_numbers(parameter)


def _all_text(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str | bytes) for value in values)


def _is_source(value: Any, parameter: Parameter) -> bool:
    """Return whether a value is a file, or a list of files where some may be left open."""
    if isinstance(value, list):
        return parameter.many and bool(value) and all(each is None or _is_source(each, parameter) for each in value)
    return isinstance(value, str | bytes)


def _sources(value: Any, parameter: Parameter) -> tuple[Source, ...]:
    """Return the files that a value means; a list of one stays a list where lists are taken, and lists may hold lists.

    Raises:
        InvalidParameterError: It means none.
    """
    sources = tuple(value) if isinstance(value, list | tuple) else (value,)
    if parameter.many and isinstance(value, list) and len(value) == 1:
        sources = (value,)
    if not sources or not all(_is_source(source, parameter) for source in sources):
        raise InvalidParameterError(
            f"'{parameter.name}' must be {PHRASES[parameter.kind]}, not {str(value)[:60]}.",
            hint="Give base64, a data URI or an http(s) URL, or a list of them.",
            parameter=parameter.name,
        )
    return sources


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
    texts = {name for name, value in params.items() if isinstance(value, list) and is_one_each(accepted[name])}
    runs = []
    for index in range(total):
        single = {name: _one_of(name, params[name], index // request.num_outputs, count) for name in texts}
        # Variations of one image share its seed, and differ by the other.
        runs.append(({**params, **single}, seed if request.variation else seed + index))
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


def _scheduler(
    request: GenerationRequest, model: ModelConfig, pipeline: PipelineEntry, catalog: Catalog
) -> tuple[SchedulerChoice | None, tuple[str, ...]]:
    """Return the scheduler of a request or of the model's configuration, and what is not quite as its name says."""
    choice = request.scheduler
    if choice is None and model.scheduler is not None:
        choice = SchedulerChoice(model.scheduler.name, model.scheduler.settings)
    if choice is None:
        return None, ()
    meant = scheduler_of(choice.name, choice.settings, catalog.schedulers)
    entry = catalog.schedulers[meant.kind]
    check_settings(choice.name, meant, entry, choice.settings)
    timesteps = choice.timesteps or timesteps_of(choice.name, meant, entry, pipeline.family)
    warnings = [f"Scheduler {choice.name!r} is {meant.kind}: {meant.caveat}"] if meant.caveat else []
    unread = [name for name in meant.settings if name in entry.unread]
    warnings += [f"'{name}' of {entry.name} has no effect: diffusers reads it nowhere." for name in unread]
    schedule = meant.schedule.name if meant.schedule else ""
    return SchedulerChoice(meant.kind, meant.settings, schedule, timesteps), tuple(warnings)
