"""Plan a workflow: a first call, and the steps after it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError
from octabox.media import arrays, formats
from octabox.media.images import encode_png
from octabox.media.limits import MediaLimits
from octabox.media.regions import Size
from octabox.service.generation import RequestRunner
from octabox.service.inputs import LATENT_AXES
from octabox.service.outputs import output_kinds
from octabox.service.protocols import Models
from octabox.service.workflows.canvas import CanvasPlanner, InpaintCanvas
from octabox.service.workflows.changes import with_changes
from octabox.service.workflows.followups import FollowupRequests
from octabox.service.workflows.refiner import plan_handover
from octabox.service.workflows.resize import FILTERS, LANCZOS, LATENT_FILTERS, resize_image, resize_latents
from octabox.service.workflows.settings import HiresPart, UpscalePart, Workflow, parse_workflow
from octabox.service.workflows.sizes import MULTIPLE, TargetSizes, first_size, latent_factor, latent_scales, reduced
from octabox.types import Artifact, GenerationRequest, OutputFormat

#: The formats between the parts: lossless images, or latents.
LOSSLESS, LATENTS = OutputFormat("png"), OutputFormat("npy", latents=True)

#: The largest size of the blank image that a workflow is checked with.
BLANK = 64


@dataclass(frozen=True)
class WorkflowItem:
    """An image on its way through a workflow.

    Args:
        content: Its file: PNG, or NPY for latents.
        run: The run of the first call that made it.
        first: The artifact of that run.
    """

    content: bytes
    run: Run
    first: Artifact


@dataclass(frozen=True)
class Step:
    """A step, which is applied to each image of a workflow.

    Args:
        request: Returns a request whose result replaces the image; None for no request.
        transform: Transforms the result, given also the image before the step; None for no change.
    """

    request: Callable[[WorkflowItem], GenerationRequest] | None = None
    transform: Callable[[bytes, bytes], bytes] | None = None


@dataclass(frozen=True)
class WorkflowPlan:
    """A workflow that can be run.

    Args:
        workflow: The requested workflow.
        call: The first call.
        steps: The steps after it, for each of its images.
        warnings: Parts of the request that have no effect.
    """

    workflow: Workflow
    call: Call
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


class WorkflowPlanner:
    """Plans the workflow of a request.

    Args:
        inner: Plans and prepares single requests.
        models: The models of this server, as the request sees them.
        limits: Maximum size of images.
    """

    def __init__(self, inner: RequestRunner, models: Models, limits: MediaLimits) -> None:
        self._inner, self._models, self._limits = inner, models, limits
        self._canvas = CanvasPlanner(inner, models, limits.max_pixels)

    async def plan(self, request: GenerationRequest) -> WorkflowPlan:
        """Return the plan of a request's workflow, all of which is checked before anything runs.

        Raises:
            OctaboxError: The request is invalid.
        """
        workflow = parse_workflow(request.workflow)
        first = replace(with_changes(request, workflow), workflow=_stages(request))
        if not workflow.to_metadata():
            return WorkflowPlan(workflow, await self._inner.prepare(first, self._models))
        formats.check_output_format(request.output, "image")
        original = first = replace(first, output=LOSSLESS)
        canvas = await self._canvas_for(first, workflow)
        steps = [Step(transform=lambda result, _: _paste_back(canvas, result))] if canvas else []
        first = canvas.request if canvas else first
        if workflow.hires and workflow.hires.upscaler in LATENT_FILTERS:
            first = replace(first, output=LATENTS)
        resolved = await self._inner.resolve(first, self._models)
        _check_images(resolved.plan.pipeline)
        handover = await plan_handover(self._models, workflow, first, resolved.plan.pipeline)
        if handover and not handover.reason:
            resolved = await self._inner.resolve(handover.request, self._models)
        call = await self._inner.call(resolved)
        call = replace(call, input_digests=canvas.input_digests) if canvas else call
        if workflow.inpaint:
            # The second pass takes the complete image, with the complete control images.
            resolved = await self._inner.resolve(original, self._models)
        followups = FollowupRequests(self._models, resolved.request, call, resolved.plan.files)
        entry = self._models.catalog.pipeline(call.runs_as)
        size = await asyncio.to_thread(first_size, call, entry, has_files=bool(resolved.plan.files))
        size = known = canvas.size if canvas else size
        warnings: list[str] = []
        if handover:
            refiner = await handover.second_pass(followups)
            steps.append(Step(request=lambda item: refiner.request(item.run, item.content, _size(item.content))))
            warnings += refiner.warnings
        if workflow.hires:
            hires_steps, notes = await self._hires(workflow.hires, followups, size)
            steps, warnings = [*steps, *hires_steps], [*warnings, *notes]
            size = size and TargetSizes(workflow.hires, "hires", self._limits.max_pixels).target(size, MULTIPLE)
        if workflow.upscale:
            steps += await self._resizing(workflow.upscale, followups, "upscale", 1, size)
        if workflow.faces:
            restorer = await followups.face_restorer(workflow.faces)
            steps.append(Step(request=lambda item: restorer.request(item.run, item.content)))
        plan = WorkflowPlan(workflow, call, tuple(steps), tuple(warnings))
        await _check_plan(self._inner, self._models, plan, reduced(known, BLANK) if known else (BLANK, BLANK))
        return plan

    async def _canvas_for(self, request: GenerationRequest, workflow: Workflow) -> InpaintCanvas | None:
        """Return the canvas of inpainting or outpainting; None if the workflow has neither."""
        if workflow.inpaint is None and workflow.outpaint is None:
            return None
        if workflow.hires and workflow.hires.upscaler in LATENT_FILTERS:
            raise InvalidParameterError(
                f"An image that is pasted back has no latents for '{workflow.hires.upscaler}'.",
                hint=f"Use one of {', '.join(FILTERS)}.",
                parameter="workflow.hires.upscaler",
            )
        if workflow.inpaint:
            return await self._canvas.inpainting(request, workflow.inpaint)
        assert workflow.outpaint is not None  # noqa: S101 (nothing else is left)
        return await self._canvas.outpainting(request, workflow.outpaint)

    async def _hires(
        self, settings: HiresPart, followups: FollowupRequests, size: Size | None
    ) -> tuple[list[Step], list[str]]:
        """Return the steps of a second pass over images of a size, and the warnings about it."""
        second = await followups.second_pass(settings)
        if settings.upscaler in LATENT_FILTERS:
            targets = TargetSizes(settings, "hires", self._limits.max_pixels)
            targets.check(size)
            scales = latent_scales(settings, followups.call)
            factor = await asyncio.to_thread(latent_factor, second.entry, second.model.config)
            steps = [Step(transform=lambda result, _: _resize_latents(result, scales, settings, targets, factor))]
        else:
            steps = await self._resizing(settings, followups, "hires", MULTIPLE, size)

        def build(item: WorkflowItem) -> GenerationRequest:
            return second.request(item.run, item.content, _size(item.content))

        return [*steps, Step(request=build)], list(second.warnings)

    async def _resizing(
        self,
        settings: HiresPart | UpscalePart,
        followups: FollowupRequests,
        part: str,
        multiple: int,
        size: Size | None,
    ) -> list[Step]:
        """Return the step that enlarges images of a size, by a filter or by a model."""
        name, targets = settings.upscaler, TargetSizes(settings, part, self._limits.max_pixels)
        upscaler = None if name in FILTERS else await followups.upscaler(settings, part)
        keeps_size = part == "upscale" and settings.scale is settings.width is settings.height is None
        if upscaler is None or not keeps_size:
            targets.check(size)

        def resize(result: bytes, before: bytes) -> bytes:
            target = targets.target(_size(before) or (BLANK, BLANK), multiple)
            return resize_image(result, target, _filter(name), crop=bool(settings.crop))

        if upscaler is None:
            return [Step(transform=resize)]
        transform = None if keeps_size else resize
        return [Step(request=lambda item: upscaler.request(item.run, item.content), transform=transform)]


async def _check_plan(inner: RequestRunner, models: Models, plan: WorkflowPlan, size: Size) -> None:
    """Check all requests of a workflow, with a blank image of a size as the result of each step."""
    latents = plan.call.output.latents
    blank = encode_png(Image.new("RGB", size))
    content = _encode(np.zeros((1, 4, 1, 1), np.float32)) if latents else blank
    item = WorkflowItem(content, plan.call.runs[0], Artifact("image", "image/png", content))
    for step in plan.steps:
        if step.request is not None:
            await inner.prepare(step.request(item), models)
            item = replace(item, content=blank)
        elif step.transform is not None:
            item = replace(item, content=step.transform(item.content, item.content))


def _stages(request: GenerationRequest) -> dict[str, Any]:
    """Return the settings of the stages of a cascade, which are those of its call, in a workflow without other parts."""
    return {name: each for name, each in request.workflow.items() if name == "stages"}


def _check_images(entry: PipelineEntry) -> None:
    """Check that a pipeline makes images."""
    kind = output_kinds(entry)[0]
    if kind != "image":
        raise InvalidParameterError(
            f"{entry.name} makes {kind}, and a workflow works on images.",
            hint="Omit all parts of it but variation, noise and seamless.",
            parameter="workflow",
        )


def _paste_back(canvas: InpaintCanvas, result: bytes) -> bytes:
    """Return the complete image of a canvas with a result pasted into it."""
    with Image.open(io.BytesIO(result)) as image:
        return encode_png(canvas.finish(image.convert("RGB")))


def _resize_latents(
    latents: bytes, scales: tuple[float, float], settings: HiresPart, targets: TargetSizes, factor: int
) -> bytes:
    """Return the file of resized latents, each element of which is so many pixels across and down."""
    array = np.load(io.BytesIO(latents), allow_pickle=False)
    if array.ndim == LATENT_AXES:
        targets.check_latents(array.shape, scales, factor)
    return _encode(resize_latents(array, scales, settings.upscaler, crop=bool(settings.crop)))


def _filter(name: str) -> str:
    """Return the filter for the target size: the requested one, or the best one after a model."""
    return name if name in FILTERS else LANCZOS


def _size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of an image's file; None for latents."""
    if content.startswith(arrays.MAGIC):
        return None
    with Image.open(io.BytesIO(content)) as image:
        size: tuple[int, int] = image.size
        return size


def _encode(array: np.ndarray) -> bytes:
    """Return latents as the bytes of a file."""
    return arrays.encode({"latents": array}, OutputFormat("npy"))[0]
