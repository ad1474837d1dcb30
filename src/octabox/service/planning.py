"""Plan a request: its pipeline, its checked parameters, and the runs with their seeds."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.conditions.ip_adapter import NAME_PART, add_scale_parameter
from octabox.catalog.entries import INTERNAL_KINDS, Parameter, PipelineEntry, SchedulerEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import is_one_each, validate
from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import MAX_SEED, ModelConfig
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError, UnknownParameterError
from octabox.schedulers.compatibility import check_settings, schedule_timesteps
from octabox.schedulers.names import resolve_scheduler
from octabox.service.bounds import BATCH, Limits, check_amounts, check_bounds, check_texts
from octabox.service.conditions.control import check_control_inputs
from octabox.service.conditions.ip_adapter import with_image_prompts
from octabox.service.outputs import output_arguments
from octabox.service.selection.files import Files, split_files
from octabox.service.selection.pipelines import choose_pipeline
from octabox.service.served_model import ServedModel
from octabox.types import GenerationRequest, SchedulerChoice

#: Annotations of components that decode latents, and the note of diffusers on settings that are not for latents.
AUTOENCODER, UNSUITABLE = re.compile(r"(?i)autoencoder|vae|vqmodel"), re.compile(r"unsuitable\s+for\s+latent")

#: Call parameters for the number of outputs of a prompt, which is `num_outputs` of a request.
OUTPUTS_PER_PROMPT = re.compile(r"num_\w+_per_prompt")

#: Upper bound of random seeds, behind which there is room for those of other outputs.
MAX_RANDOM_SEED = 2**31

#: The seed by which clients ask for one at random.
RANDOM_SEED = -1


@dataclass(frozen=True)
class Plan:
    """A request, resolved and checked; its media are not decoded yet.

    Args:
        pipeline: The pipeline to call.
        task: Hub task tag that is served.
        runs: Parameters and seed of each run.
        files: Media and arrays by call parameter.
        scheduler: The noise scheduler by class name; None for the model's own.
        warnings: Parts of the request that have no effect.
    """

    pipeline: PipelineEntry
    task: str
    runs: tuple[tuple[Mapping[str, Any], int], ...]
    files: Files
    scheduler: SchedulerChoice | None
    warnings: tuple[str, ...] = ()


def parse_seed(seed: int | None) -> int | None:
    """Return the seed of a client's request; None for one at random."""
    return None if seed == RANDOM_SEED else seed


def plan_request(request: GenerationRequest, model: ServedModel, catalog: Catalog, limits: Limits) -> Plan:
    """Resolve and check a request.

    Raises:
        RequestError: The request is invalid; all problems are reported together.
        TaskNotFoundError: The model does not serve this task.
        SchedulerNotFoundError: There is no such scheduler.
    """
    check_bounds(request)
    stated = {*request.params, *request.optional_params}
    request = _count_outputs(request)
    params, files = split_files(request, _file_parameters(catalog, model))
    pipeline, task = _choose_pipeline(request, model, catalog, params, files)
    uses_ip_adapter = bool(model.config.ip_adapters) or any(NAME_PART in name for name in files)
    if uses_ip_adapter:
        pipeline = add_scale_parameter(pipeline, tuple(each.scale for each in model.config.ip_adapters))
    accepted = {parameter.name: parameter for parameter in pipeline.parameters}
    defaults = {name: value for name, value in model.config.defaults.items() if name in accepted}
    # Each output has its own run and its own seed, also where the configuration sets their number.
    outputs = request.num_outputs * _pop_outputs(defaults, ignored=stated)
    optional_params = {
        name: value
        for name, value in request.optional_params.items()
        if name in accepted and _has_effect(accepted[name], value)
    }
    checked = validate(pipeline, {**defaults, **optional_params, **params}, files, model.family(catalog))
    check_texts(checked)
    if any(CONTROL_COMPONENTS.search(part.name) for part in pipeline.components):
        check_control_inputs(pipeline, model.config, checked, files)
    unused: tuple[str, ...] = ()
    if uses_ip_adapter:
        checked, unused = with_image_prompts(pipeline, model.config, checked, files)
    checked |= output_arguments(request.output, pipeline)
    check_amounts({**files, **checked}, limits, pipeline)
    runs = _runs(checked, accepted, request, outputs, limits, model.config.seed)
    ignored = [name for name, value in request.optional_params.items() if name not in accepted and value is not None]
    warnings = tuple(f"'{name}' has no effect: {pipeline.name} has no such parameter." for name in ignored)
    scheduler, caveat = _scheduler(request, model.config, pipeline, catalog)
    return Plan(pipeline, task, runs, files, scheduler, (*warnings, *unused, *caveat))


def _has_effect(parameter: Parameter, value: object) -> bool:
    """Return whether an optional value is other than none at all: null is, for a parameter with another default."""
    if value is not None:
        return True
    may_be_none = not (parameter.required or parameter.is_file or parameter.default is None)
    return may_be_none and parameter.kind not in INTERNAL_KINDS


def _choose_pipeline(
    request: GenerationRequest, model: ServedModel, catalog: Catalog, params: Mapping[str, Any], files: Files
) -> tuple[PipelineEntry, str]:
    """Return the pipeline and the task of a request; if no pipeline takes its files, report all other problems too."""
    try:
        return choose_pipeline(catalog, model, request.task, files)
    except (UnknownParameterError, InvalidParameterError) as first:
        known = {name: sources for name, sources in files.items() if name in model.pipeline.files()}
        try:
            validate(model.pipeline, params, known, model.family(catalog))
        except InvalidRequestError as others:
            raise InvalidRequestError([first, *others.problems]) from None
        except RequestError as other:
            raise InvalidRequestError([first, other]) from None
        raise


def _file_parameters(catalog: Catalog, model: ServedModel) -> dict[str, Parameter]:
    """Return all parameters of a model's class and its siblings that may be files, or have fields that may."""
    family, found = model.family(catalog), dict[str, Parameter]()
    for entry in reversed(family):
        found |= entry.file_parameters
    return found


def _count_outputs(request: GenerationRequest) -> GenerationRequest:
    """Return a request with parameters such as ``num_images_per_prompt`` as its number of outputs."""
    if not any(OUTPUTS_PER_PROMPT.fullmatch(name) for name in (*request.params, *request.optional_params)):
        return request
    params, optional_params = dict(request.params), dict(request.optional_params)
    outputs = request.num_outputs * _pop_outputs(params) * _pop_outputs(optional_params)
    return replace(request, params=params, optional_params=optional_params, num_outputs=outputs)


def _pop_outputs(values: dict[str, Any], ignored: Container[str] = ()) -> int:
    """Remove parameters such as ``num_images_per_prompt``, and return their product without the ignored ones."""
    outputs = 1
    for name in [name for name in values if OUTPUTS_PER_PROMPT.fullmatch(name)]:
        value = values.pop(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidParameterError(f"'{name}' must be a whole number from 1, not {value!r}.", parameter=name)
        if name not in ignored:
            outputs *= value
    return outputs


def _runs(
    params: Mapping[str, Any],
    accepted: Mapping[str, Parameter],
    request: GenerationRequest,
    num_outputs: int,
    limits: Limits,
    default_seed: int | None,
) -> tuple[tuple[Mapping[str, Any], int], ...]:
    """Return the parameters and the seed of each run: one for each output of each prompt."""
    prompts = params.get("prompt")
    count = len(prompts) if isinstance(prompts, list) else 1
    total = count * num_outputs
    outputs = total * (params.get(BATCH) or 1)
    if not 1 <= outputs <= limits.outputs:
        raise InvalidParameterError(
            f"A request may have 1 to {limits.outputs} outputs, not {outputs}.",
            hint="Send several requests, or raise `max_outputs`.",
            parameter="num_outputs",
        )
    seed = default_seed if request.seed is None else request.seed
    seed = secrets.randbelow(MAX_RANDOM_SEED) if seed is None else seed
    _check_seed("seed", seed, 1 if request.variation else total)
    if request.variation:
        _check_seed("workflow.variation.seed", request.variation.seed, total)
    texts = {name for name, value in params.items() if isinstance(value, list) and is_one_each(accepted[name])}
    runs = []
    for index in range(total):
        single = {name: _one_of(name, params[name], index // num_outputs, count) for name in texts}
        # Variations of an image have its seed, and differ in the seed of the variation.
        runs.append(({**params, **single}, seed if request.variation else seed + index))
    return tuple(runs)


def _check_seed(name: str, seed: int, total: int) -> None:
    """Check the seed of the first output, to which the index of each other one is added.

    Raises:
        InvalidParameterError: It is negative, or too large for one of them.
    """
    maximum = MAX_SEED + 1 - total
    if not 0 <= seed <= maximum:
        outputs = f" for {total} outputs" if total > 1 else ""
        same = f"A generator reads 32 bits: {seed % (MAX_SEED + 1)} gives the same noise." if seed > MAX_SEED else ""
        message = f"'{name}' must be from 0 to {maximum}{outputs}, not {seed}."
        raise InvalidParameterError(message, hint=same, parameter=name)


def _one_of(name: str, values: list[Any], index: int, count: int) -> Any:
    """Return the text of a list for a prompt."""
    if len(values) != count:
        raise InvalidParameterError(
            f"'{name}' has {len(values)} texts, and there are {count} prompts.",
            parameter=name,
            hint="Give one for each.",
        )
    return values[index]


def _scheduler(
    request: GenerationRequest, model: ModelConfig, pipeline: PipelineEntry, catalog: Catalog
) -> tuple[SchedulerChoice | None, tuple[str, ...]]:
    """Return the scheduler of a request or of the model's configuration, and warnings about it."""
    choice = request.scheduler
    if choice is None and model.scheduler is not None:
        choice = SchedulerChoice(model.scheduler.name, model.scheduler.settings)
    if choice is None:
        return None, ()
    resolved = resolve_scheduler(choice.name, choice.settings, catalog.schedulers)
    entry = catalog.schedulers[resolved.kind]
    check_settings(choice.name, resolved, entry, choice.settings)
    timesteps = choice.timesteps or schedule_timesteps(choice.name, resolved, entry, pipeline.family)
    warnings = [f"Scheduler {choice.name!r} is {resolved.kind}: {resolved.caveat}"] if resolved.caveat else []
    unread = [name for name in resolved.settings if name in entry.unread]
    warnings += [f"'{name}' of {entry.name} has no effect: diffusers reads it nowhere." for name in unread]
    warnings += _latent_warnings(entry, resolved.settings, pipeline)
    schedule = resolved.schedule.name if resolved.schedule else ""
    return SchedulerChoice(resolved.kind, resolved.settings, schedule, timesteps), tuple(warnings)


def _latent_warnings(entry: SchedulerEntry, settings: Mapping[str, Any], pipeline: PipelineEntry) -> Iterator[str]:
    """Yield a warning for each setting that diffusers calls unsuitable for a model of latents."""
    if not any(AUTOENCODER.search(part.annotation) for part in pipeline.components):
        return
    for name, value in settings.items():
        setting = entry.setting(name)
        if value is True and setting is not None and UNSUITABLE.search(setting.description):
            yield f"'{name}' of {entry.name} is unsuitable for {pipeline.name}, which denoises latents: use it for pixels."
