"""Run the calls of a loaded model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModularPipeline

from octabox.catalog.conditions.ip_adapter import SCALE_PARAMETER
from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.conditions.control import control_arguments
from octabox.engine.worker.conditions.lora import Loras, configured_adapters
from octabox.engine.worker.inputs.arguments import call_arguments
from octabox.engine.worker.inputs.effects import effect_warnings
from octabox.engine.worker.inputs.latents.changes import changes_of
from octabox.engine.worker.inputs.latents.noise import HostNoise
from octabox.engine.worker.inputs.sizes import (
    check_sizes,
    complete_size,
    frame_warnings,
    restore_size,
    size_of_image,
    size_warnings,
)
from octabox.engine.worker.inputs.solver_trial import DECISIVE, solver_warnings
from octabox.engine.worker.inputs.timesteps import GET_TIMESTEPS, checked_timesteps, step_warnings
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.checks import capture_cast_warnings
from octabox.engine.worker.outputs.encoding import RawOutput, SeededOutput
from octabox.engine.worker.outputs.metadata import describe_run
from octabox.engine.worker.outputs.parser import OutputParser
from octabox.engine.worker.placement.decode_retry import retry_decoding_in_float32
from octabox.engine.worker.placement.recovery import ModelState
from octabox.engine.worker.progress import ProgressReporter
from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache
from octabox.engine.worker.prompts.hooks import PromptHooks
from octabox.engine.worker.prompts.parsed import ParsedPrompt, parse_prompts
from octabox.engine.worker.scheduler_factory import build_scheduler
from octabox.engine.worker.steps import OnStep, StepCallback
from octabox.engine.worker.targets import Target, Targets
from octabox.engine.worker.third_party_logs import capture_warnings
from octabox.errors import InvalidParameterError
from octabox.types import AdapterReport, Progress


class Runner:
    """Runs the calls of one loaded model, one at a time.

    Args:
        model: The model.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model, self.device, self._placement = model, model.device, model.placement
        self.targets = Targets(model)
        self._scheduler = getattr(model.pipeline, "scheduler", None)
        self._scheduler_config = {} if self._scheduler is None else dict(self._scheduler.config)
        self._weightless = copy.deepcopy(_weightless_components(model.pipeline))
        self._loras = model.loras or Loras(model.pipeline)
        self._has_loras = bool(self._loras.state)
        self._embed_cache, self._host_noise = PromptEmbedCache(), HostNoise()
        self.in_float32 = _is_float32([*model.pipeline.components.values(), *model.extra_components.values()])
        self._progress: ProgressReporter | None = None
        self._solver_check, self.state, self.pipeline_seconds = _SolverCheck(), ModelState([model.pipeline]), 0.0

    @property
    def pipelines(self) -> list[DiffusionPipeline]:
        """All pipelines over this model's components."""
        return self.targets.pipelines

    @property
    def steps_taken(self) -> int:
        """The number of steps that the last call has taken."""
        return 0 if self._progress is None else self._progress.steps_taken

    def note_state(self) -> None:
        """Record the state of the components that a call may change, and leave changed if it fails."""
        self.state.record(self.pipelines)

    def clear_prompt_cache(self) -> None:
        """Release the cached outputs of text encoders."""
        self._embed_cache.clear()

    def run(self, call: Call, on_progress: Callable[[Progress], None], check: Callable[[], None]) -> RawOutput:
        """Run a call.

        Args:
            call: The call.
            on_progress: Called with the progress after each step.
            check: Called between steps; raises if the call is to end.
        """
        progress = self._progress = ProgressReporter(call, self._placement, check)
        began, self.pipeline_seconds = time.perf_counter(), 0.0
        target, performance = self.targets[call.runs_as], self._model.performance
        outputs: list[SeededOutput] = []
        adapters: list[AdapterReport] = []
        with (
            capture_warnings(target.entry.package) as messages,
            performance.running(target.pipe, on_progress) as send,
        ):
            for index, run in enumerate(call.runs):
                check()
                applied = self.apply_loras(call, run, messages)
                adapters += [each for each in applied if each not in adapters]
                self.reset_pipeline(target, call)
                params = complete_size(target.pipe, target.entry, run.params, run.inputs)
                run = replace(run, params=params)  # noqa: PLW2901 (the same run)
                on_step = progress.for_run(target.pipe, index, send)
                output, seconds = _timed(partial(self.run_once, target, call, run, on_step, messages))
                self.pipeline_seconds += seconds
                check()
                outputs += parse_output(self._model, target, call, run, output, applied, messages)
        messages += [*progress.missing_images(), *performance.take_warnings()]
        warnings = dict.fromkeys([*call.warnings, *self._model.warnings, *messages])
        return RawOutput(call, tuple(outputs), tuple(warnings), {"run": time.perf_counter() - began}, tuple(adapters))

    def apply_loras(self, call: Call, run: Run, messages: list[str]) -> list[AdapterReport]:
        """Apply the LoRAs of a run and no others, and return a report of each."""
        configured_loras = configured_adapters(call.model) if call.model.adapters else ()
        loras = configured_loras if run.adapters is None else run.adapters
        self._has_loras |= bool(loras or configured_loras)
        if not self._has_loras:
            return []
        self._model.performance.prepare_adapters(loras, self._placement.suspended)
        reports, warnings = self._loras.apply(loras, unmerged=_scales_loras(run.params))
        messages.extend(warnings)
        return reports

    def reset_pipeline(self, target: Target, call: Call) -> None:
        """Give the pipeline a new scheduler and new components without weights, such as guiders, which count their calls."""
        for name, component in self._weightless.items():
            _replace_component(target.pipe, name, copy.deepcopy(component))
        if self._scheduler is not None:
            scheduler = build_scheduler(self._scheduler, self._scheduler_config, call.scheduler, target.entry)
            _replace_component(target.pipe, "scheduler", scheduler)
        elif call.scheduler is not None:
            message = f"{target.entry.name} has no noise scheduler that {call.scheduler.name} could replace."
            raise InvalidParameterError(message, hint="Leave the scheduler out.", parameter="scheduler")

    def run_once(self, target: Target, call: Call, run: Run, on_step: OnStep, messages: list[str]) -> Any:
        """Run one run, and return what the pipeline returns."""
        prompts = parse_prompts(run.params, call.prompt_syntax)
        run = replace(run, params={**run.params, **{name: each.text for name, each in prompts.items()}})
        output = self.run_prompted(target, run, self.prompt_hooks(target, prompts, run), on_step, messages)
        messages += embedding_warnings(self._model, [each.text for each in prompts.values()])
        return output

    def prompt_hooks(self, target: Target, prompts: Mapping[str, ParsedPrompt], run: Run) -> PromptHooks:
        """Return the hooks for the prompts of a run, or of all members of a batch."""
        loras = self._loras.state if self._has_loras else ()
        return PromptHooks(target.pipe, target.entry, prompts, self._embed_cache, loras, run.params)

    def run_prompted(self, target: Target, run: Run, hooks: PromptHooks, on_step: OnStep, messages: list[str]) -> Any:
        """Run a run whose prompts are parsed, and return what the pipeline returns; only what it needs is installed."""
        pipe, entry = target.pipe, target.entry
        with ExitStack() as stack:
            if self._placement.mode != "full":
                stack.enter_context(self._placement.call_scope())
            stack.enter_context(capture_cast_warnings(messages))
            stack.enter_context(hooks.installed())
            if not self.in_float32:
                stack.enter_context(retry_decoding_in_float32(pipe, messages))
            steps = StepCallback(pipe, on_step, entry.progress)
            run_pipeline = partial(self._call_pipeline, target, run, steps, messages)
            is_on_host = self.device == "cpu"
            output = run_pipeline() if is_on_host else self._host_noise.run(entry.name, run_pipeline, messages)
        hooks.add_warnings(messages)
        messages += step_warnings(run.params, steps.taken if steps.call_arguments() else None)
        return output

    def _call_pipeline(self, target: Target, run: Run, steps: StepCallback, messages: list[str]) -> Any:
        """Call the pipeline with the arguments that it takes, and add a warning for each without effect."""
        pipe, entry = target.pipe, target.entry
        check_sizes(pipe, entry, run.params)
        messages += self._solver_check.warnings(pipe, entry, run.params)
        # Some pipelines use the global generators of the libraries, also in addition to the one that they are passed.
        torch.manual_seed(run.seed)
        np.random.seed(run.seed)  # noqa: NPY002 (the generator that pipelines use)
        arguments = call_arguments(pipe, entry, run) | steps.call_arguments()
        arguments |= size_of_image(pipe, entry, run.params, run.inputs)
        if target.has_control:
            arguments |= control_arguments(pipe, entry, arguments)
        arguments.pop(SCALE_PARAMETER, None)
        messages += effect_warnings(pipe, arguments, {**run.params, **run.inputs})
        if entry.modular:
            arguments["output"] = [field.name for field in entry.outputs]
        ip_adapters = self._model.ip_adapters
        adapter = ip_adapters.activated(run) if ip_adapters else nullcontext()
        has_changes = run.variation or run.noise or run.seamless or run.latent_fill
        changes = changes_of(pipe, run, arguments, steps, messages) if has_changes else nullcontext()
        timesteps = checked_timesteps(pipe) if hasattr(pipe, GET_TIMESTEPS) else nullcontext()
        with timesteps, steps.installed(), adapter, changes:
            if ip_adapters:
                self._model.performance.observe_attention()
            return pipe(**arguments)


class _SolverCheck:
    """Checks the solvers of calls; of equal calls that follow each other, only the first one's."""

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()
        self._warnings: list[str] = []

    def warnings(self, pipe: Any, entry: PipelineEntry, params: Mapping[str, Any]) -> list[str]:
        """Return the warnings about a pipeline's scheduler with the parameters of a call.

        Raises:
            InvalidParameterError: The scheduler does not support so few steps.
        """
        scheduler = getattr(pipe, "scheduler", None)
        if not isinstance(scheduler, ConfigMixin):
            return []
        decisive = {name: params[name] for name in DECISIVE if name in params}
        schedule = vars(scheduler).get("set_timesteps")
        solver = (type(scheduler), repr(sorted(scheduler.config.items())), schedule, entry.name, repr(decisive))
        if solver != self._last:
            self._warnings = solver_warnings(pipe, entry, params)
            self._last = solver
        return self._warnings


def parse_output(
    model: LoadedModel,
    target: Target,
    call: Call,
    run: Run,
    output: Any,
    adapters: list[AdapterReport],
    messages: list[str],
) -> list[SeededOutput]:
    """Return the outputs of a run with their metadata."""
    pipe, entry = target.pipe, target.entry
    parser = OutputParser(pipe, entry, run.params, call.output, run.inputs)
    items, resized = restore_size({**run.params, **run.inputs}, parser.parse(output), pipe, entry)
    metadata = describe_run(pipe, entry, call, run, adapters, model.performance.metadata)
    sizes = size_warnings({**metadata["params"], **run.inputs}, items, pipe, entry)
    messages += [*parser.warnings, *resized, *sizes, *frame_warnings({**run.params, **run.inputs}, items, entry)]
    return [(item, run.seed, metadata) for item in items]


def embedding_warnings(model: LoadedModel, prompts: Iterable[str]) -> list[str]:
    """Return the warnings for words of embeddings in prompts; most models have no embeddings."""
    words = model.embeddings
    return [each for text in prompts for each in words.warnings(text)] if words.words or words.unused else []


def _scales_loras(params: Mapping[str, Any]) -> bool:
    """Return whether a call has a parameter that scales LoRAs."""
    values = [value for name, value in params.items() if name.endswith("attention_kwargs")]
    return any(isinstance(value, Mapping) and "scale" in value for value in values)


def _weightless_components(pipe: DiffusionPipeline) -> dict[str, Any]:
    """Return the components of a modular pipeline that have a configuration and no weights, whose state a call changes."""
    return {
        name: part
        for name, part in pipe.components.items()
        if isinstance(pipe, ModularPipeline) and isinstance(part, ConfigMixin) and not isinstance(part, torch.nn.Module)
    }


def _replace_component(pipe: DiffusionPipeline, name: str, component: Any) -> None:
    """Replace a component of a pipeline, and of the pipelines that it has created in its constructor and calls."""
    replaced = getattr(pipe, name, None)
    setattr(pipe, name, component)
    for inner in vars(pipe).values():
        for part, current in inner.components.items() if isinstance(inner, DiffusionPipeline) else ():
            if current is replaced and current is not None:
                setattr(inner, part, component)


def _is_float32(components: list[Any]) -> bool:
    """Return whether all weights of components are in float32, so that decoding again in float32 cannot help."""
    parts = [part for each in components for part in (each if isinstance(each, list) else [each])]
    modules = [part for part in parts if isinstance(part, torch.nn.Module)]
    return all(weight.dtype == torch.float32 for module in modules for weight in module.parameters())


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and the seconds that it took."""
    began = time.perf_counter()
    return run(), time.perf_counter() - began
