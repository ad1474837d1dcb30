"""Turn a request with a workflow into a chain: a first call, and what follows on it."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError
from octabox.media import arrays, formats
from octabox.media.images import lossless
from octabox.media.limits import MediaLimits
from octabox.service.generation import GenerationService
from octabox.service.models import ModelService
from octabox.service.outputs import kinds_made
from octabox.service.planning import DRAWN_SEEDS
from octabox.service.workflows.canvas import CanvasPlanner, InpaintCanvas
from octabox.service.workflows.followups import SIDES, FollowupRequests
from octabox.service.workflows.resize import FILTERS, LANCZOS, LATENT_FILTERS, enlarged, enlarged_latents
from octabox.service.workflows.settings import USUAL_SCALE, HiresPart, UpscalePart, VariationPart, Workflow, read
from octabox.types import Artifact, GenerationRequest, OutputFormat, Variation

#: Sides of a second pass are multiples of this, as nearly all pipelines need.
MULTIPLE = 8

#: What passes between the parts: images without loss, or latents.
LOSSLESS, LATENTS = OutputFormat("png"), OutputFormat("npy", latents=True)

#: An image that stands for one that is not made yet, while a chain is checked.
BLANK = (64, 64)


@dataclass(frozen=True)
class WorkflowItem:
    """An image on its way through a chain.

    Args:
        content: Its file: PNG, or NPY where it is latents.
        run: The run of the first call that made it.
        first: What that run made.
    """

    content: bytes
    run: Run
    first: Artifact


@dataclass(frozen=True)
class Step:
    """What is done to each image of a chain.

    Args:
        ask: Returns a request whose result takes the image's place; None asks for nothing.
        then: Returns what becomes of the result; it is given that and what the step began with.
    """

    ask: Callable[[WorkflowItem], GenerationRequest] | None = None
    then: Callable[[bytes, bytes], bytes] | None = None


@dataclass(frozen=True)
class WorkflowPlan:
    """A workflow that can be run.

    Args:
        workflow: What was asked for.
        call: The first call.
        steps: What follows, for each of its images.
        warnings: What has no effect.
    """

    workflow: Workflow
    call: Call
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


class WorkflowPlanner:
    """Makes chains of requests.

    Args:
        inner: The one door.
        models: Where models are looked up.
        limits: How large images may become.
    """

    def __init__(self, inner: GenerationService, models: ModelService, limits: MediaLimits) -> None:
        self._inner, self._models, self._limits = inner, models, limits
        self._canvas = CanvasPlanner(inner, models)

    async def chain(self, request: GenerationRequest) -> WorkflowPlan:
        """Return the chain that a request means. All of it is checked before anything runs.

        Raises:
            OctaboxError: Something about it is wrong.
        """
        workflow = read(request.workflow)
        first = replace(request, workflow={}, variation=_varied(workflow.variation) or request.variation)
        if not workflow.told():
            return WorkflowPlan(workflow, await self._inner.prepare(first))
        formats.check(request.output, "image")
        whole = first = replace(first, output=LOSSLESS)
        canvas = await self._laid_out(first, workflow)
        steps = [Step(then=lambda made, _: _finished(canvas, made))] if canvas else []
        first = canvas.request if canvas else first
        if workflow.hires and workflow.hires.upscaler in LATENT_FILTERS:
            first = replace(first, output=LATENTS)
        resolved = await self._inner.resolve(first)
        _check_images(resolved.plan.pipeline)
        call = await self._inner.call(resolved)
        call = replace(call, brought=canvas.brought) if canvas else call
        if workflow.inpaint:
            # The second pass sees the whole image, and with it all of what steers.
            resolved = await self._inner.resolve(whole)
        passes = FollowupRequests(self._models, resolved.request, call, resolved.plan.files)
        warnings: list[str] = []
        if workflow.hires:
            more, warnings = await self._hires(workflow.hires, passes)
            steps += more
        if workflow.upscale:
            steps += await self._enlarging(workflow.upscale, passes, "upscale", 1)
        chain = WorkflowPlan(workflow, call, tuple(steps), tuple(warnings))
        await self._check(chain)
        return chain

    async def _laid_out(self, request: GenerationRequest, workflow: Workflow) -> InpaintCanvas | None:
        """Return a request whose image has been laid out; None where nothing asks for that."""
        if workflow.inpaint is None and workflow.outpaint is None:
            return None
        if workflow.hires and workflow.hires.upscaler in LATENT_FILTERS:
            raise InvalidParameterError(
                f"An image that is laid back has no latents for '{workflow.hires.upscaler}'.",
                hint=f"Take one of {', '.join(FILTERS)}.",
                parameter="workflow.hires.upscaler",
            )
        if workflow.inpaint:
            return await self._canvas.inpainting(request, workflow.inpaint)
        assert workflow.outpaint is not None  # noqa: S101 (nothing else is left)
        return await self._canvas.outpainting(request, workflow.outpaint)

    async def _hires(self, settings: HiresPart, passes: FollowupRequests) -> tuple[list[Step], list[str]]:
        """Return the steps of a second pass, and what has no effect in it."""
        second = await passes.second(settings)
        if settings.upscaler in LATENT_FILTERS:
            scale = self._latent_scale(settings, passes.call.runs[0])
            steps = [Step(then=lambda made, _: _enlarged_latents(made, scale, settings.upscaler))]
        else:
            steps = await self._enlarging(settings, passes, "hires", MULTIPLE)

        def ask(drawn: WorkflowItem) -> GenerationRequest:
            return second.request(drawn.run, drawn.content, _size(drawn.content))

        return [*steps, Step(ask=ask)], list(second.warnings)

    async def _enlarging(
        self, settings: HiresPart | UpscalePart, passes: FollowupRequests, part: str, multiple: int
    ) -> list[Step]:
        """Return the step that enlarges an image, by a filter or by a model."""
        self._check_size(settings, passes.call.runs[0], part)
        name = settings.upscaler

        def fit(made: bytes, before: bytes) -> bytes:
            return enlarged(made, self._target(settings, _size(before) or BLANK, part, multiple), _filter(name))

        if name in FILTERS:
            return [Step(then=fit)]
        upscaler = await passes.upscaler(settings, part)
        own = part == "upscale" and settings.scale is settings.width is settings.height is None
        return [Step(ask=lambda drawn: upscaler.request(drawn.run, drawn.content), then=None if own else fit)]

    def _target(
        self, settings: HiresPart | UpscalePart, size: tuple[int, int], part: str, multiple: int
    ) -> tuple[int, int]:
        """Return the size that an image is to have.

        Raises:
            InvalidParameterError: It is larger than is allowed.
        """
        width, height = settings.width, settings.height
        scale = settings.scale or USUAL_SCALE
        scales = [asked / side for asked, side in zip((width, height), size, strict=True) if asked] or [scale]
        wanted = [asked or side * scales[0] for asked, side in zip((width, height), size, strict=True)]
        target = tuple(max(round(side / multiple) * multiple, multiple) for side in wanted)
        if target[0] * target[1] > self._limits.max_pixels:
            raise InvalidParameterError(
                f"An image of {target[0]}x{target[1]} has more pixels than the {self._limits.max_pixels} that are allowed.",
                hint="Ask for a smaller one, or raise `max_image_pixels`.",
                parameter=f"workflow.{part}.{'scale' if settings.width is settings.height is None else 'width'}",
            )
        return target[0], target[1]

    def _check_size(self, settings: HiresPart | UpscalePart, run: Run, part: str) -> None:
        """Refuse what will be too large, where the size of the first image is known."""
        width, height = (run.params.get(name) for name in SIDES)
        if isinstance(width, int) and isinstance(height, int):
            self._target(settings, (width, height), part, 1)

    def _latent_scale(self, settings: HiresPart, run: Run) -> float:
        """Return how many times larger latents become; a size in pixels is compared with that of the first pass."""
        self._check_size(settings, run, "hires")
        asked = [
            (side, run.params.get(name)) for name, side in zip(SIDES, (settings.width, settings.height), strict=True)
        ]
        for side, first in asked:
            if side is None:
                continue
            if not isinstance(first, int):
                raise InvalidParameterError(
                    "Latents are enlarged by a scale, since their size in pixels is not known here.",
                    hint="Give `scale`.",
                    parameter="workflow.hires.width",
                )
            return side / first
        return settings.scale or USUAL_SCALE

    async def _check(self, chain: WorkflowPlan) -> None:
        """Check all requests of a chain, with a blank image in place of those that are not made yet."""
        latents = chain.call.output.latents
        content = _file(np.zeros((1, 4, *BLANK), np.float32)) if latents else lossless(Image.new("RGB", BLANK))
        drawn = WorkflowItem(content, chain.call.runs[0], Artifact("image", "image/png", content))
        for step in chain.steps:
            if step.ask is not None:
                await self._inner.prepare(step.ask(drawn))
            elif step.then is not None:
                drawn = replace(drawn, content=step.then(drawn.content, drawn.content))


def _varied(part: VariationPart | None) -> Variation | None:
    if part is None:
        return None
    return Variation(secrets.randbelow(DRAWN_SEEDS) if part.seed is None else part.seed, part.strength)


def _check_images(entry: PipelineEntry) -> None:
    """Refuse a pipeline that makes something else than images."""
    kind = kinds_made(entry)[0]
    if kind != "image":
        raise InvalidParameterError(
            f"{entry.name} makes {kind}, and a workflow works on images.",
            hint="Leave out all parts of it but the variation.",
            parameter="workflow",
        )


def _finished(canvas: InpaintCanvas, made: bytes) -> bytes:
    with Image.open(io.BytesIO(made)) as image:
        return lossless(canvas.finish(image.convert("RGB")))


def _enlarged_latents(made: bytes, scale: float, name: str) -> bytes:
    return _file(enlarged_latents(np.load(io.BytesIO(made), allow_pickle=False), scale, name))


def _filter(name: str) -> str:
    """Return the filter that brings an image to its size: the one asked for, or the best behind a model."""
    return name if name in FILTERS else LANCZOS


def _size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of an image's file; None for latents."""
    if content.startswith(arrays.MAGIC):
        return None
    with Image.open(io.BytesIO(content)) as image:
        size: tuple[int, int] = image.size
        return size


def _file(array: np.ndarray) -> bytes:
    return arrays.encode({"latents": array}, OutputFormat("npy"))[0]
