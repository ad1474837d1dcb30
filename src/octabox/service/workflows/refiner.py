"""Let another model run the last steps of a request: on the latents of the first, or over its finished image."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Run
from octabox.errors import InvalidParameterError
from octabox.service.protocols import Models
from octabox.service.selection.inputs import bind_image_to_image
from octabox.service.workflows.followups import END, START, FollowupRequests, SecondPass
from octabox.service.workflows.parts import RefinerPart
from octabox.service.workflows.resize import LATENT_FILTERS
from octabox.service.workflows.settings import HiresPart, Workflow
from octabox.types import GenerationRequest, OutputFormat

#: Minimum strength of a refiner that paints over the image.
MIN_STRENGTH = 0.01


@dataclass(frozen=True)
class Handover:
    """How a refiner continues.

    Args:
        settings: The settings of the refiner.
        request: The first request, which ends early if the refiner takes its latents.
        reason: Why the refiner paints over the finished image; empty if it continues the latents.
    """

    settings: RefinerPart
    request: GenerationRequest
    reason: str = ""

    async def second_pass(self, followups: FollowupRequests) -> SecondPass:
        """Return the builder of the requests to the refiner.

        Raises:
            RequestError: The model of the refiner has no pipeline that takes an image and a strength.
        """
        strength = max(1 - self.settings.switch_at, MIN_STRENGTH)
        settings = HiresPart.model_validate({"scale": 1.0, "strength": strength, "model": self.settings.model})
        second = await followups.second_pass(settings, "refiner", continues=not self.reason)
        if self.reason:
            warning = f"The refiner paints over the finished image, and does not continue its latents: {self.reason}."
            return replace(second, warnings=(*second.warnings, warning))
        fields = {name: getattr(second, name) for name in second.__dataclass_fields__}
        return _Continuation(**fields, start=self.settings.switch_at)


async def plan_handover(
    models: Models, workflow: Workflow, request: GenerationRequest, entry: PipelineEntry
) -> Handover | None:
    """Return how the refiner of a workflow continues its first request; None if there is no refiner.

    Args:
        models: The models of this server.
        workflow: The workflow.
        request: Its first request.
        entry: The pipeline of that.

    Raises:
        RequestError: There is no such model, the second pass takes latents, or the request sets another end.
    """
    settings = workflow.refiner
    if settings is None:
        return None
    if workflow.hires and workflow.hires.upscaler in LATENT_FILTERS:
        raise InvalidParameterError(
            f"A refiner makes images, and '{workflow.hires.upscaler}' takes latents.",
            hint="Use another upscaler, or leave the refiner out.",
            parameter="workflow.hires.upscaler",
        )
    model = await asyncio.to_thread(models.resolve, settings.model)
    bound = bind_image_to_image(model, models.catalog, ())
    if workflow.inpaint or workflow.outpaint:
        return Handover(settings, request, "a part of an image is pasted back before")
    if entry.parameter(END) is None:
        return Handover(settings, request, f"{entry.name} has no '{END}'")
    if bound is None or bound[0].parameter(START) is None:
        name = bound[0].name if bound else model.pipeline.name
        return Handover(settings, request, f"{name} has no '{START}'")
    if request.params.get(END) not in (None, settings.switch_at):
        raise InvalidParameterError(
            f"'{END}' and the refiner both set when the first model ends.",
            hint=f"Leave '{END}' out, and give the refiner's `switch_at`.",
            parameter=END,
        )
    params = {**request.params, END: settings.switch_at}
    return Handover(settings, replace(request, params=params, output=OutputFormat("npy", latents=True)))


@dataclass(frozen=True)
class _Continuation(SecondPass):
    """Builds the requests to a refiner that takes the latents.

    Args:
        start: Fraction of the steps from which it continues.
    """

    start: float = 0.0

    def request(self, run: Run, image: bytes, size: tuple[int, int] | None) -> GenerationRequest:
        """Return the request for the latents of one image.

        They have their noise already, and the levels of noise at which they are continued are those of the first scheduler.
        """
        request = super().request(run, image, size)
        return replace(request, scheduler=self.followups.call.scheduler, variation=None, noise=None)

    def _strength(self) -> dict[str, Any]:
        # The pipeline does not use a strength, and runs the rest of the same steps.
        return {START: self.start}
