"""Build the requests after the first of a workflow: a second pass over its image, and an enlargement by a model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.conditions.control import control_inputs
from octabox.catalog.conditions.ip_adapter import add_scale_parameter
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.signature import settable_parameters
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError, ModelNotFoundError, OctaboxError, nearest
from octabox.prompts.names import is_prompt
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.outputs import OUTPUT_TYPE
from octabox.service.protocols import Models
from octabox.service.selection.files import Files
from octabox.service.selection.inputs import IMAGE_TO_IMAGE, STRENGTH, bind_image_to_image, source_parameter
from octabox.service.served_model import ServedModel
from octabox.service.workflows.faces import restores_faces, select_face_model
from octabox.service.workflows.parts import FacesPart
from octabox.service.workflows.resize import FILTERS, LATENT_FILTERS
from octabox.service.workflows.settings import HiresPart, UpscalePart
from octabox.service.workflows.sizes import SIDES
from octabox.types import AdapterChoice, GenerationRequest, OutputFormat, Source

#: The call parameter for the number of steps.
STEPS = "num_inference_steps"

#: The call parameters for the fraction of the steps after which a pipeline ends, and from which another one continues.
END, START = "denoising_end", "denoising_start"


@dataclass(frozen=True)
class FollowupRequests:
    """Builds the requests after the first one.

    Args:
        models: The models of this server.
        request: The first request, as the client sent it.
        call: The call of the first request.
        files: Its files by call parameter.
    """

    models: Models
    request: GenerationRequest
    call: Call
    files: Files

    async def second_pass(self, settings: HiresPart, part: str = "hires", *, continues: bool = False) -> SecondPass:
        """Return the builder of the requests of the second pass.

        Args:
            settings: The settings of the second pass.
            part: The part of the workflow that it is, such as `refiner`.
            continues: Whether it continues the latents of the first pass, with the same scheduler.

        Raises:
            RequestError: The model has no pipeline that takes an image and a strength.
        """
        model = await asyncio.to_thread(self.models.resolve, settings.model or self.request.model)
        control = self._control_images(model)
        entry, source = self._image_to_image(model, control, part)
        entry = add_scale_parameter(entry, tuple(each.scale for each in model.config.ip_adapters))
        files = {name: files for name, (_, files) in control.items() if entry.parameter(name) and name != source}
        warnings = [
            f"The second pass does not use '{first}'." for name, (first, _) in control.items() if name not in files
        ]
        warnings += [
            f"'{name}' has no effect in the second pass: {entry.name} has no such parameter."
            for name in self.request.params
            if not entry.parameter(name) and name not in self.files and name not in (*SIDES, END)
        ]
        if settings.steps is not None and not entry.parameter(STEPS):
            warnings.append(f"'workflow.hires.steps' has no effect: {entry.name} has no number of steps.")
        warnings += self._model_warnings(settings, part, continues=continues)
        return SecondPass(self, settings, model, entry, source, files, tuple(warnings))

    def _model_warnings(self, settings: HiresPart, part: str, *, continues: bool) -> Iterator[str]:
        """Yield what does not apply to another model of the second pass."""
        if settings.model in (None, self.request.model):
            return
        if any(run.adapters for run in self.call.runs):
            yield f"The LoRAs of the request are not applied in the second pass, which '{settings.model}' makes."
        if self.request.scheduler is not None and settings.scheduler is None and not continues:
            advice = ": give it another under 'workflow.hires'" if part == "hires" else ""
            yield f"The second pass has the scheduler of '{settings.model}'{advice}."

    def _control_images(self, model: ServedModel) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """Return the control images of the first pass, by their parameter in the second: their first parameter, and files."""
        control = control_inputs(self.models.catalog.pipeline(self.call.runs_as)).image
        found = {name: (name, tuple(files)) for name, files in self.files.items() if CONTROL_PARAMETERS.search(name)}
        if control is None or control.name not in self.files:
            return found
        # The parameter may be that of the source image in the other pipeline.
        family = (entry for entry in model.family(self.models.catalog) if IMAGE_TO_IMAGE in entry.tasks)
        images = (control_inputs(entry).image for entry in family)
        name = next((each.name for each in images if each is not None), control.name)
        found.pop(control.name, None)
        return {**found, name: (control.name, tuple(self.files[control.name]))}

    def _image_to_image(self, model: ServedModel, control: Collection[str], part: str) -> tuple[PipelineEntry, str]:
        """Return the pipeline of a model that paints over an image by a strength, and its parameter for the image."""
        bound = bind_image_to_image(model, self.models.catalog, control)
        if bound is None:
            other = "enlarge the image only (`upscale`)" if part == "hires" else f"leave out the {part}"
            raise InvalidParameterError(
                f"A model of {model.pipeline.name} has no pipeline that paints over an image by a strength.",
                hint=f"Use another model for the second pass (`model`), or {other}.",
                parameter=f"workflow.{part}",
            )
        return bound

    async def upscaler(self, settings: HiresPart | UpscalePart, part: str) -> Upscaler:
        """Return the builder of the requests to a model that enlarges images.

        Raises:
            InvalidParameterError: There is no such model or filter, or the model does not enlarge images.
        """
        parameter, name = f"workflow.{part}.upscaler", settings.upscaler
        try:
            model = await asyncio.to_thread(self.models.resolve, name)
        except ModelNotFoundError as error:
            choices = [*FILTERS, *(LATENT_FILTERS if part == "hires" else ()), *self._upscalers()]
            close = nearest(name, choices)
            hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(choices)}."
            message = f"There is no upscaler '{name}'."
            raise InvalidParameterError(message, hint=hint, parameter=parameter, choices=close or choices) from error
        source = source_parameter(model.pipeline)
        if source is None or model.pipeline.output_kind != "image":
            raise InvalidParameterError(
                f"The model '{name}' is a {model.pipeline.name}, which does not enlarge images.",
                hint=f"Use one of {', '.join([*FILTERS, *self._upscalers()])}.",
                parameter=parameter,
            )
        params = settings.params if isinstance(settings, UpscalePart) else {}
        return Upscaler(self, model, source.name, params)

    async def face_restorer(self, settings: FacesPart) -> Upscaler:
        """Return the builder of the requests to a model that restores faces.

        Raises:
            InvalidParameterError: There is none, or the requested one does not restore faces.
        """
        model = await select_face_model(self.models, settings)
        source = source_parameter(model.pipeline)
        assert source is not None  # noqa: S101 (the model is chosen by what it does to an image)
        return Upscaler(self, model, source.name, {STRENGTH: settings.strength})

    def _upscalers(self) -> list[str]:
        """Return the models that are upscalers: their first task is to transform an image."""
        found = []
        for info in self.models.list():
            try:
                entry = self.models.catalog.pipeline(info.pipeline or "")
            except OctaboxError:
                continue
            enlarges = source_parameter(entry) and not restores_faces(entry) and entry.tasks[:1] == (IMAGE_TO_IMAGE,)
            if not info.alias_of and enlarges:
                found.append(info.name)
        return found

    def build(self, run: Run, **changes: Any) -> GenerationRequest:
        """Return a request that continues a run of the first one: same prompt and seed, one lossless result."""
        configured = [AdapterChoice(each.lora, each.weight, each.weights) for each in self.call.model.adapters]
        requested = [each for each in run.adapters or () if each not in configured]
        adapters = [AdapterChoice(each.display_name, each.weight, each.weights) for each in requested]
        request = GenerationRequest(
            model=self.request.model,
            seed=run.seed,
            adapters=tuple(adapters),
            variation=run.variation,
            noise=run.noise,
            seamless=run.seamless,
            prompt_syntax=self.call.prompt_syntax,
            output=OutputFormat("png"),
            keep_alive=self.request.keep_alive,
        )
        return replace(request, **changes)


@dataclass(frozen=True)
class SecondPass:
    """Builds the requests of a second pass.

    Args:
        followups: Builds the requests after the first one.
        settings: The settings of the second pass.
        model: Its model.
        entry: Its pipeline.
        source: The parameter of the pipeline for the image.
        files: Its control images by call parameter.
        warnings: Parts of the first request that have no effect in it.
    """

    followups: FollowupRequests
    settings: HiresPart
    model: ServedModel
    entry: PipelineEntry
    source: str
    files: Mapping[str, tuple[Any, ...]]
    warnings: tuple[str, ...]

    def request(self, run: Run, image: bytes, size: tuple[int, int] | None) -> GenerationRequest:
        """Return the request for one image.

        Args:
            run: The run that made the image.
            image: The file of the image, or of its latents.
            size: The size of the image; None for latents.
        """
        request, settings = self.followups.request, self.settings
        params = {name: value for name, value in run.params.items() if self._takes(name)} | self._strength()
        if size is not None and all(map(self.entry.parameter, SIDES)):
            params |= dict(zip(SIDES, size, strict=True))
        same_model = settings.model in (None, request.model)
        followup = self.followups.build(
            run,
            model=self.model.config.name,
            task=IMAGE_TO_IMAGE,
            params=params | settings.params,
            inputs={**self.files, self.source: (image,)},
            scheduler=parse_scheduler_choice(settings.scheduler) or (request.scheduler if same_model else None),
        )
        return followup if same_model else replace(followup, adapters=())

    def _takes(self, name: str) -> bool:
        """Return whether a parameter of the first pass has the same meaning in the second."""
        values = {each.name for each in settable_parameters(self.entry)} - {*SIDES, STRENGTH, OUTPUT_TYPE, END, START}
        return name in values and name not in self.entry.files()

    def _strength(self) -> dict[str, Any]:
        """Return the call parameters for the strength and the steps."""
        params: dict[str, Any] = {STRENGTH: self.settings.strength}
        if self.settings.steps is not None and self.entry.parameter(STEPS):
            # Diffusers runs only the fraction of the steps that the strength is.
            params[STEPS] = math.ceil(round(self.settings.steps / self.settings.strength, 6))
        return params


@dataclass(frozen=True)
class Upscaler:
    """Builds requests to a model that enlarges images.

    Args:
        followups: Builds the requests after the first one.
        model: The model.
        source: The parameter of its pipeline for the image.
        params: The requested call parameters.
    """

    followups: FollowupRequests
    model: ServedModel
    source: str
    params: Mapping[str, Any]

    def request(self, run: Run, image: bytes) -> GenerationRequest:
        """Return the request for one image, with the prompts of the first call that the model takes."""
        prompts = {
            name: value for name, value in run.params.items() if is_prompt(name) and self.model.pipeline.parameter(name)
        }
        inputs: dict[str, tuple[Source, ...]] = {self.source: (image,)}
        return self.followups.build(
            run,
            model=self.model.config.name,
            params={**prompts, **self.params},
            inputs=inputs,
            adapters=(),
            variation=None,
            noise=None,
            seamless="",
        )
