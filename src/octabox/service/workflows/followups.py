"""The requests that follow on the first: a second pass over its image, and an enlargement by a model."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.conditions.control import control_inputs
from octabox.catalog.conditions.ip_adapter import add_scale_parameter
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.signature import settable_parameters
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError, ModelNotFoundError, OctaboxError, UnknownParameterError, nearest
from octabox.prompts.names import is_prompt
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.models import ModelService
from octabox.service.outputs import OUTPUT_TYPE
from octabox.service.planning import Files
from octabox.service.selection.pipelines import choose, family_of
from octabox.service.served_model import ServedModel
from octabox.service.workflows.resize import FILTERS, LATENT_FILTERS
from octabox.service.workflows.settings import HiresPart, UpscalePart
from octabox.types import AdapterChoice, GenerationRequest, OutputFormat, Source

#: The task of both.
TASK = "image-to-image"

#: Call parameters that say how much of an image changes, and in how many steps.
STRENGTH, STEPS = "strength", "num_inference_steps"

#: What the size of an image is asked for by.
SIDES = ("width", "height")


@dataclass(frozen=True)
class FollowupRequests:
    """Makes the requests that follow on a first one.

    Args:
        models: Where models are looked up.
        request: The first request, as the client gave it.
        call: The call that it became.
        files: What it brought.
    """

    models: ModelService
    request: GenerationRequest
    call: Call
    files: Files

    async def second(self, settings: HiresPart) -> SecondPass:
        """Return what makes the requests of the second pass.

        Raises:
            RequestError: The model has no pipeline that begins from an image and a strength.
        """
        model = await self.models.served(settings.model or self.request.model)
        control = self._steering(model)
        entry, subject = self._begins_from_images(model, control)
        entry = add_scale_parameter(entry, tuple(each.scale for each in model.config.ip_adapters))
        kept = {name: files for name, (_, files) in control.items() if entry.parameter(name) and name != subject}
        lost = [f"The second pass does not see '{own}'." for name, (own, _) in control.items() if name not in kept]
        lost += [
            f"'{name}' has no effect in the second pass: {entry.name} has no such parameter."
            for name in self.request.params
            if not entry.parameter(name) and name not in self.files and name not in SIDES
        ]
        if settings.steps is not None and not entry.parameter(STEPS):
            lost.append(f"'workflow.hires.steps' has no effect: {entry.name} has no number of steps.")
        return SecondPass(self, settings, model, entry, subject, kept, (*lost, *self._left_to_the_first(settings)))

    def _left_to_the_first(self, settings: HiresPart) -> Iterator[str]:
        """Yield what belongs to the first pass's model alone, where another makes the second."""
        if settings.model in (None, self.request.model):
            return
        if any(run.adapters for run in self.call.runs):
            yield f"The LoRAs of the request are not applied in the second pass, which '{settings.model}' makes."
        if self.request.scheduler is not None and settings.scheduler is None:
            yield f"The second pass has the scheduler of '{settings.model}': give it another under 'workflow.hires'."

    def _steering(self, model: ServedModel) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """Return what steers the first pass: by its name in a second one, its own name and its files."""
        control = control_inputs(self.models.catalog.pipeline(self.call.runs_as)).image
        found = {name: (name, tuple(files)) for name, files in self.files.items() if CONTROL_PARAMETERS.search(name)}
        if control is None or control.name not in self.files:
            return found
        # Its name may be that of the image to paint over.
        named = (control_inputs(entry).image for entry in self._family(model) if TASK in entry.tasks)
        name = next((each.name for each in named if each is not None), control.name)
        found.pop(control.name, None)
        return {**found, name: (control.name, tuple(self.files[control.name]))}

    def _family(self, model: ServedModel) -> tuple[PipelineEntry, ...]:
        return family_of(self.models.catalog, model.own, model.extra, alone=model.alone)

    def _begins_from_images(self, model: ServedModel, control: Collection[str]) -> tuple[PipelineEntry, str]:
        """Return a model's pipeline that paints an image over, as strongly as it is told, and its name for the image."""
        catalog = self.models.catalog
        painting = [entry for entry in self._family(model) if TASK in entry.tasks and entry.parameter(STRENGTH)]
        subjects = {entry.name: subject_of(entry) for entry in painting}
        for name in dict.fromkeys(each.name for each in subjects.values() if each):
            for files in ({name, *control}, {name}):
                try:
                    entry, _ = choose(catalog, model.own, TASK, files, model.extra, alone=model.alone)
                except (UnknownParameterError, InvalidParameterError):
                    continue
                if entry.name in subjects:
                    return entry, name
        raise InvalidParameterError(
            f"A model of {model.own.name} has no pipeline that paints an image over by a strength.",
            hint="Take another model for the second pass (`model`), or enlarge the image only (`upscale`).",
            parameter="workflow.hires",
        )

    async def upscaler(self, settings: HiresPart | UpscalePart, part: str) -> Upscaler:
        """Return what makes the requests to a model that enlarges images.

        Raises:
            InvalidParameterError: There is no such model or filter, or the model takes no image.
        """
        parameter, name = f"workflow.{part}.upscaler", settings.upscaler
        try:
            model = await self.models.served(name)
        except ModelNotFoundError as error:
            choices = [*FILTERS, *(LATENT_FILTERS if part == "hires" else ()), *self._upscalers()]
            like = nearest(name, choices)
            hint = f"Did you mean {' or '.join(like)}?" if like else f"There are {', '.join(choices)}."
            message = f"There is no upscaler '{name}'."
            raise InvalidParameterError(message, hint=hint, parameter=parameter, choices=like or choices) from error
        subject = subject_of(model.own)
        if subject is None or model.own.output_kind != "image":
            raise InvalidParameterError(
                f"The model '{name}' is a {model.own.name}, which enlarges no images.",
                hint=f"Take one of {', '.join([*FILTERS, *self._upscalers()])}.",
                parameter=parameter,
            )
        params = settings.params if isinstance(settings, UpscalePart) else {}
        return Upscaler(self, model, subject.name, params)

    def _upscalers(self) -> list[str]:
        """Return the models that take an image and need no words, as an upscaler does."""
        found = []
        for info in self.models.list():
            try:
                entry = self.models.catalog.pipeline(info.pipeline or "")
            except OctaboxError:
                continue
            if subject_of(entry) and entry.tasks[:1] == (TASK,):
                found.append(info.name)
        return found

    def follow(self, run: Run, **changes: Any) -> GenerationRequest:
        """Return a request that goes on from a run of the first one: same words, same seed, one result, without loss."""
        own = [AdapterChoice(each.lora, each.weight, each.weights) for each in self.call.model.adapters]
        asked = [each for each in run.adapters or () if each not in own]
        adapters = [AdapterChoice(each.called, each.weight, each.weights) for each in asked]
        request = GenerationRequest(
            model=self.request.model,
            seed=run.seed,
            adapters=tuple(adapters),
            variation=run.variation,
            prompt_syntax=self.call.prompt_syntax,
            output=OutputFormat("png"),
        )
        return replace(request, **changes)


@dataclass(frozen=True)
class SecondPass:
    """Makes the requests of a second pass.

    Args:
        passes: What they follow on.
        settings: What the client said of it.
        model: The model that makes it.
        entry: Its pipeline.
        subject: That one's parameter for the image.
        files: What steers it.
        warnings: What of the first request it cannot do.
    """

    passes: FollowupRequests
    settings: HiresPart
    model: ServedModel
    entry: PipelineEntry
    subject: str
    files: Mapping[str, tuple[Any, ...]]
    warnings: tuple[str, ...]

    def request(self, run: Run, image: bytes, size: tuple[int, int] | None) -> GenerationRequest:
        """Return the request for one image.

        Args:
            run: The run that made it.
            image: Its file, or that of its latents.
            size: Its size; None for latents.
        """
        request, settings = self.passes.request, self.settings
        params = {name: value for name, value in run.params.items() if self._takes(name)} | self._strength()
        if size is not None and all(map(self.entry.parameter, SIDES)):
            params |= dict(zip(SIDES, size, strict=True))
        same = settings.model in (None, request.model)
        following = self.passes.follow(
            run,
            model=self.model.config.name,
            task=TASK,
            params=params | settings.params,
            inputs={**self.files, self.subject: (image,)},
            scheduler=parse_scheduler_choice(settings.scheduler) or (request.scheduler if same else None),
        )
        return following if same else replace(following, adapters=())

    def _takes(self, name: str) -> bool:
        """Tell whether a parameter of the first pass is one of the second too, and means the same in it."""
        values = {each.name for each in settable_parameters(self.entry)} - {*SIDES, STRENGTH, OUTPUT_TYPE}
        return name in values and name not in self.entry.files()

    def _strength(self) -> dict[str, Any]:
        """Return how strongly the second pass is to change the image, in how many steps."""
        given: dict[str, Any] = {STRENGTH: self.settings.strength}
        if self.settings.steps is not None and self.entry.parameter(STEPS):
            # Diffusers counts the steps of a whole call, of which it takes the strength's part.
            given[STEPS] = math.ceil(round(self.settings.steps / self.settings.strength, 6))
        return given


@dataclass(frozen=True)
class Upscaler:
    """Makes requests to a model that enlarges images.

    Args:
        passes: What they follow on.
        model: The model.
        subject: Its parameter for the image.
        params: What the client said of its call.
    """

    passes: FollowupRequests
    model: ServedModel
    subject: str
    params: Mapping[str, Any]

    def request(self, run: Run, image: bytes) -> GenerationRequest:
        """Return the request for one image; words that describe it go along where the model takes them."""
        words = {
            name: value for name, value in run.params.items() if is_prompt(name) and self.model.own.parameter(name)
        }
        inputs: dict[str, tuple[Source, ...]] = {self.subject: (image,)}
        return self.passes.follow(
            run,
            model=self.model.config.name,
            params={**words, **self.params},
            inputs=inputs,
            adapters=(),
            variation=None,
        )


def subject_of(entry: PipelineEntry) -> Parameter | None:
    """Return the parameter for the image that a pipeline works on; None where it takes none."""
    return next(
        (each for each in entry.parameters if each.kind == "image" and not CONTROL_PARAMETERS.search(each.name)), None
    )
