"""Make the calls of one loaded model."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ModularPipeline

from octabox.catalog.conditions.ip_adapter import SCALE_PARAMETER
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.component_types import group_components
from octabox.engine.worker.conditions.control import control_arguments
from octabox.engine.worker.conditions.lora import Loras, configured_adapters
from octabox.engine.worker.library_logging import capture_library_warnings
from octabox.engine.worker.inputs.arguments import call_arguments
from octabox.engine.worker.inputs.noise import HostNoise, apply_variation
from octabox.engine.worker.inputs.sizes import check_sizes, size_warnings
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.checks import capture_cast_warnings
from octabox.engine.worker.outputs.encoding import encode_output
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.outputs.parser import OutputParser
from octabox.engine.worker.outputs.previews import preview
from octabox.engine.worker.placement.decode_retry import retry_decoding_in_float32
from octabox.engine.worker.placement.recovery import ModelState
from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache
from octabox.engine.worker.prompts.hooks import PromptHooks, drop_truncation_warnings
from octabox.engine.worker.prompts.parsed import parse_prompts
from octabox.engine.worker.scheduler_factory import build_scheduler
from octabox.engine.worker.steps import StepCallback
from octabox.errors import IncompatibleWeightsError, InvalidParameterError
from octabox.types import AdapterReport, Generation, Progress

#: Types of values that metadata can hold as they are.
PLAIN = (str, int, float, bool)


@dataclass(frozen=True)
class RawOutput:
    """What a call made, before it is encoded; each with its seed and what it was made from."""

    call: Call
    outputs: tuple[tuple[OutputItem, int | None, Mapping[str, Any]], ...]
    warnings: tuple[str, ...]
    timings: Mapping[str, float]
    adapters: tuple[AdapterReport, ...] = ()

    def encode(self) -> Generation:
        """Write everything as files, each with its own metadata inside where its format has room for it."""
        output = self.call.output
        made = [each for product, seed, facts in self.outputs for each in encode_output(product, seed, facts, output)]
        return Generation(
            self.call.id,
            self.call.model.name,
            self.call.runs_as,
            self.call.task,
            tuple(made),
            self.warnings,
            self.timings,
            self.adapters,
        )


class Runner:
    """Makes calls of one loaded model, one at a time."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._siblings: dict[str, DiffusionPipeline] = {type(model.pipeline).__name__: model.pipeline}
        scheduler = getattr(model.pipeline, "scheduler", None)
        self._scheduler = scheduler
        self._pristine = dict(scheduler.config) if scheduler is not None else {}
        self._loras = model.loras or Loras(model.pipeline)
        self._ip_adapters = model.ip_adapters
        self._settings = copy.deepcopy(_without_weights(model.pipeline))
        self._memory = PromptEmbedCache()
        self.device, self.state = model.device, ModelState([model.pipeline])
        self._placement = model.placement
        self._draws = HostNoise()
        self.steps_taken = self._previews = 0

    @property
    def pipelines(self) -> list[DiffusionPipeline]:
        """All pipelines over this model's components."""
        return list(self._siblings.values())

    def note_state(self) -> None:
        """Note what a call may change of the components and, if it fails, leave changed."""
        self.state.record(self.pipelines)

    def clear_prompt_cache(self) -> None:
        """Release the encoded prompts that are kept for later calls."""
        self._memory.forget()

    def run(self, call: Call, tell: Callable[[Progress], None], check: Callable[[], None]) -> RawOutput:
        """Make a call.

        Args:
            call: What to run.
            tell: Told how far it is, after each step.
            check: Called between steps; raises where the call is to end.
        """
        self.steps_taken = self._previews = 0
        began = time.perf_counter()
        pipe, entry = self._pipeline(call.runs_as), load_catalog().pipeline(call.runs_as)
        made: list[tuple[OutputItem, int | None, Mapping[str, Any]]] = []
        adapters: list[AdapterReport] = []
        performance = self._model.performance
        with capture_library_warnings(entry.package) as said, performance.running(pipe, tell) as publish:
            for index, run in enumerate(call.runs):
                check()
                applied = self._apply_loras(call, run, said)
                adapters += [each for each in applied if each not in adapters]
                self._reset_pipeline(pipe, entry, call)
                watch = StepCallback(pipe, self._reporter(pipe, call, index, publish, check), entry.progress)
                prompts, spoken = self._read_prompts(pipe, entry, call, run)
                with (
                    self._placement.call_scope(),
                    capture_cast_warnings(said),
                    prompts.installed(),
                    retry_decoding_in_float32(pipe, said),
                ):
                    output = self._draws.of(entry.name, partial(self._call, pipe, entry, spoken, watch), said)
                check()
                said.extend(prompts.warnings())
                reader = OutputParser(pipe, entry, run.params, call.output)
                outputs = reader.read(output)
                facts = {**self._facts(pipe, entry, call, run), **_told(applied)}
                made += [(product, run.seed, facts) for product in outputs]
                said.extend([*reader.warnings, *size_warnings(facts["params"], outputs, pipe, entry)])
        wanted = call.partial_images * len(call.runs)
        if self._previews < wanted:
            said.append(f"Only {self._previews} of {wanted} partial images could be made of this pipeline's steps.")
        said.extend(performance.take_warnings())
        warnings = dict.fromkeys([*call.warnings, *self._model.warnings, *drop_truncation_warnings(said)])
        return RawOutput(call, tuple(made), tuple(warnings), {"run": time.perf_counter() - began}, tuple(adapters))

    def _pipeline(self, name: str) -> DiffusionPipeline:
        """Return a pipeline of this class over the loaded components."""
        if name not in self._siblings:
            kind: Any = import_class(name)
            own = self._model.pipeline
            taken = inspect.signature(kind.__init__).parameters
            offered = {**own.config, **own.components, **self._model.extra_components}
            try:
                pipe = kind(**{part: group_components(kind, part, offered[part]) for part in taken if part in offered})
            except TypeError as error:
                raise IncompatibleWeightsError(f"{name} needs more than this model has: {error}.") from error
            pipe.set_progress_bar_config(disable=True)
            self._siblings[name] = pipe
        return self._siblings[name]

    def _apply_loras(self, call: Call, run: Run, said: list[str]) -> list[AdapterReport]:
        """Make the model what it is with the LoRAs of this run alone, and return what became of them."""
        chosen = configured_adapters(call.model) if run.adapters is None else run.adapters
        self._model.performance.prepare_adapters(chosen, self._placement.suspended)
        reports, notes = self._loras.apply(chosen, unmerged=_scales(run.params))
        said.extend(notes)
        return reports

    def _reset_pipeline(self, pipe: DiffusionPipeline, entry: PipelineEntry, call: Call) -> None:
        """Give the pipeline a scheduler that no earlier call has touched, and guiders, which count their calls, likewise."""
        for name, part in self._settings.items():
            setattr(pipe, name, copy.deepcopy(part))
        if self._scheduler is not None:
            pipe.scheduler = build_scheduler(self._scheduler, self._pristine, call.scheduler, entry)
        elif call.scheduler is not None:
            message = f"{entry.name} has no noise scheduler to put {call.scheduler.name} in place of."
            raise InvalidParameterError(message, hint="Leave the scheduler out.", parameter="scheduler")

    def _reporter(
        self,
        pipe: DiffusionPipeline,
        call: Call,
        index: int,
        tell: Callable[[Progress], None],
        check: Callable[[], None],
    ) -> Callable[[int, int, Mapping[str, Any]], None]:
        """Return what is called after each step of one run."""
        runs, shown = len(call.runs), 0

        def on_step(taken: int, total: int, tensors: Mapping[str, Any]) -> None:
            nonlocal shown
            check()
            self.steps_taken += 1
            last = taken >= total
            tell(Progress("decoding" if last else "running", index * total + taken, runs * total, output=index))
            if (
                total
                and not last
                and taken * (call.partial_images + 1) >= (shown + 1) * total
                and shown < call.partial_images
            ):
                with self._placement.without_eviction():
                    image = preview(pipe, tensors.get("latents"))
                if image:
                    self._previews += 1
                    artifact = next(
                        encode_output(OutputItem("preview", "image", image), call.runs[index].seed, {}, call.output)
                    )
                    tell(Progress("running", index * total + taken, runs * total, artifact, index))
                shown += 1

        return on_step

    def _read_prompts(
        self, pipe: DiffusionPipeline, entry: PipelineEntry, call: Call, run: Run
    ) -> tuple[PromptHooks, Run]:
        """Return what watches over a run's prompts, and the run with their plain words."""
        read = parse_prompts(run.params, call.prompt_syntax)
        spoken = replace(run, params={**run.params, **{name: each.plain for name, each in read.items()}})
        state = self._loras.state
        watch = PromptHooks(pipe, entry, read, self._memory, state, clip_skip=run.params.get("clip_skip"))
        return watch, spoken

    def _call(self, pipe: DiffusionPipeline, entry: PipelineEntry, run: Run, watch: StepCallback) -> Any:
        """Call the pipeline with what it takes."""
        check_sizes(pipe, entry, run.params)
        # Some draw from the libraries' own generators, beside the one they are given or without one.
        torch.manual_seed(run.seed)
        np.random.seed(run.seed % 2**32)  # noqa: NPY002 (the one that pipelines use)
        arguments = call_arguments(pipe, entry, run) | watch.call_arguments()
        arguments |= control_arguments(pipe, entry, arguments)
        arguments.pop(SCALE_PARAMETER, None)
        if entry.modular:
            arguments["output"] = [field.name for field in entry.outputs]
        images = self._ip_adapters.activated(run) if self._ip_adapters else nullcontext()
        with watch.installed(), images, apply_variation(arguments, run.variation):
            return pipe(**arguments)

    def _facts(self, pipe: DiffusionPipeline, entry: PipelineEntry, call: Call, run: Run) -> dict[str, Any]:
        """Return what an output was made from, enough to make it again."""
        defaults = {
            each.name: each.default for each in entry.parameters if each.literal and isinstance(each.default, PLAIN)
        }
        params = {name: value for name, value in {**defaults, **run.params}.items() if name not in INTERNAL}
        scheduler = getattr(pipe, "scheduler", None)
        choice = call.scheduler
        facts = {
            "version": version("octabox"),
            "model": call.model.name,
            "pipeline": call.runs_as,
            "task": call.task,
            "params": {name: value for name, value in params.items() if value is not None},
            "seed": run.seed,
            **self._model.performance.metadata,
        }
        if call.prompt_syntax != "plain":
            facts["prompt_syntax"] = call.prompt_syntax
        if run.written:
            facts["written"] = dict(run.written)
        if call.brought:
            facts["inputs"] = dict(call.brought)
        if run.variation:
            facts["variation"] = asdict(run.variation)
        if scheduler is None:
            return facts
        used = {"name": type(scheduler).__name__, "settings": dict(sorted(choice.settings.items())) if choice else {}}
        if choice and choice.schedule:
            used["schedule"] = choice.schedule
        return {**facts, "scheduler": used}


def _scales(params: Mapping[str, Any]) -> bool:
    """Tell whether a call scales LoRAs by a parameter of its own."""
    given = [value for name, value in params.items() if name.endswith("attention_kwargs")]
    return any(isinstance(value, Mapping) and "scale" in value for value in given)


def _told(reports: list[AdapterReport]) -> dict[str, Any]:
    """Return the LoRAs of a run as they stand in its outputs' metadata."""
    told = [
        {"lora": each.lora, "weight": each.weight, **({"weights": dict(each.weights)} if each.weights else {})}
        for each in reports
    ]
    return {"adapters": told} if told else {}


def _without_weights(pipe: DiffusionPipeline) -> dict[str, Any]:
    """Return the components of a pipeline of blocks that hold nothing but settings, and what they note of a call."""
    return {
        name: part
        for name, part in pipe.components.items()
        if isinstance(pipe, ModularPipeline) and isinstance(part, ConfigMixin) and not isinstance(part, torch.nn.Module)
    }


#: Call parameters that say how a result is handed over, not what it shows.
INTERNAL = frozenset({"output_type", "return_dict", "callback_steps"})
