"""Plan a workflow: a first call, and the steps after it."""

from __future__ import annotations

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
from octabox.media.limits import MediaLimits, check_output_size
from octabox.service.generation import RequestRunner
from octabox.service.outputs import output_kinds
from octabox.service.protocols import Models
from octabox.service.workflows.canvas import CanvasPlanner, InpaintCanvas
from octabox.service.workflows.changes import with_changes
from octabox.service.workflows.followups import SIDES, FollowupRequests
from octabox.service.workflows.refiner import plan_handover
from octabox.service.workflows.resize import FILTERS, LANCZOS, LATENT_FILTERS, resize_image, resize_latents
from octabox.service.workflows.settings import (
    DEFAULT_SCALE,
    HiresPart,
    UpscalePart,
    Workflow,
    parse_workflow,
)
from octabox.types import Artifact, GenerationRequest, OutputFormat

#: The sides of a second pass are multiples of this, which nearly all pipelines require.
MULTIPLE = 8

#: The formats between the parts: lossless images, or latents.
LOSSLESS, LATENTS = OutputFormat("png"), OutputFormat("npy", latents=True)

#: The size of the blank image that a workflow is checked with.
BLANK = (64, 64)


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
        warnings: list[str] = []
        if handover:
            refiner = await handover.second_pass(followups)
            steps.append(Step(request=lambda item: refiner.request(item.run, item.content, _size(item.content))))
            warnings += refiner.warnings
        if workflow.hires:
            hires_steps, notes = await self._hires(workflow.hires, followups)
            steps, warnings = [*steps, *hires_steps], [*warnings, *notes]
        if workflow.upscale:
            steps += await self._resizing(workflow.upscale, followups, "upscale", 1)
        if workflow.faces:
            restorer = await followups.face_restorer(workflow.faces)
            steps.append(Step(request=lambda item: restorer.request(item.run, item.content)))
        plan = WorkflowPlan(workflow, call, tuple(steps), tuple(warnings))
        await _check_plan(self._inner, self._models, plan)
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

    async def _hires(self, settings: HiresPart, followups: FollowupRequests) -> tuple[list[Step], list[str]]:
        """Return the steps of a second pass, and the warnings about it."""
        second = await followups.second_pass(settings)
        if settings.upscaler in LATENT_FILTERS:
            scales = self._latent_scales(settings, followups.call.runs[0])
            steps = [Step(transform=lambda result, _: _resize_latents(result, scales, settings))]
        else:
            steps = await self._resizing(settings, followups, "hires", MULTIPLE)

        def build(item: WorkflowItem) -> GenerationRequest:
            return second.request(item.run, item.content, _size(item.content))

        return [*steps, Step(request=build)], list(second.warnings)

    async def _resizing(
        self, settings: HiresPart | UpscalePart, followups: FollowupRequests, part: str, multiple: int
    ) -> list[Step]:
        """Return the step that enlarges an image, by a filter or by a model."""
        self._check_size(settings, followups.call.runs[0], part)
        name = settings.upscaler

        def resize(result: bytes, before: bytes) -> bytes:
            target = self._target(settings, _size(before) or BLANK, part, multiple)
            return resize_image(result, target, _filter(name), crop=bool(settings.crop))

        if name in FILTERS:
            return [Step(transform=resize)]
        upscaler = await followups.upscaler(settings, part)
        keeps_size = part == "upscale" and settings.scale is settings.width is settings.height is None
        transform = None if keeps_size else resize
        return [Step(request=lambda item: upscaler.request(item.run, item.content), transform=transform)]

    def _target(
        self, settings: HiresPart | UpscalePart, size: tuple[int, int], part: str, multiple: int
    ) -> tuple[int, int]:
        """Return the target size of an image.

        Raises:
            InvalidParameterError: It exceeds the limit.
        """
        width, height = settings.width, settings.height
        scale = settings.scale or DEFAULT_SCALE
        scales = [target / side for target, side in zip((width, height), size, strict=True) if target] or [scale]
        exact = [target or side * scales[0] for target, side in zip((width, height), size, strict=True)]
        target = tuple(max(round(side / multiple) * multiple, multiple) for side in exact)
        name = "scale" if settings.width is settings.height is None else "width"
        check_output_size((target[0], target[1]), self._limits.max_pixels, f"workflow.{part}.{name}")
        return target[0], target[1]

    def _check_size(self, settings: HiresPart | UpscalePart, run: Run, part: str) -> None:
        """Check the target size, if the size of the first image is known."""
        width, height = (run.params.get(name) for name in SIDES)
        if isinstance(width, int) and isinstance(height, int):
            self._target(settings, (width, height), part, 1)

    def _latent_scales(self, settings: HiresPart, run: Run) -> tuple[float, float]:
        """Return the scales of latents, across and down; a size in pixels is divided by that of the first pass."""
        self._check_size(settings, run, "hires")
        scales: list[float | None] = []
        for name, side in zip(SIDES, (settings.width, settings.height), strict=True):
            first = run.params.get(name)
            if side is not None and not isinstance(first, int):
                raise InvalidParameterError(
                    "Latents are enlarged by a scale, since their size in pixels is not known.",
                    hint="Give width and height of the request too, or a scale.",
                    parameter=f"workflow.hires.{name}",
                )
            scales.append(side / first if side is not None and isinstance(first, int) else None)
        other = next((each for each in scales if each is not None), settings.scale or DEFAULT_SCALE)
        across, down = (other if each is None else each for each in scales)
        return across, down


async def _check_plan(inner: RequestRunner, models: Models, plan: WorkflowPlan) -> None:
    """Check all requests of a workflow, with a blank image as the result of each step."""
    latents = plan.call.output.latents
    blank = encode_png(Image.new("RGB", BLANK))
    content = _encode(np.zeros((1, 4, *BLANK), np.float32)) if latents else blank
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


def _resize_latents(latents: bytes, scales: tuple[float, float], settings: HiresPart) -> bytes:
    """Return the file of resized latents."""
    array = np.load(io.BytesIO(latents), allow_pickle=False)
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
