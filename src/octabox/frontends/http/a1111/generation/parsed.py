"""A request of the web UI that is translated, and changes of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from octabox.frontends.http.a1111.generation.sampling import Sampling
from octabox.frontends.http.a1111.generation.targets import Target
from octabox.types import GenerationRequest, Source

#: Fields of the web UI by the settings of a workflow, for errors.
CLIENT_NAMES = {
    "workflow.hires": "enable_hr",
    "workflow.hires.upscaler": "hr_upscaler",
    "workflow.hires.scale": "hr_scale",
    "workflow.hires.width": "hr_resize_x",
    "workflow.hires.height": "hr_resize_y",
    "workflow.hires.crop": "hr_resize_x",
    "workflow.hires.steps": "hr_second_pass_steps",
    "workflow.hires.strength": "denoising_strength",
    "workflow.hires.model": "hr_checkpoint_name",
    "workflow.hires.scheduler": "hr_sampler_name",
    "workflow.refiner": "refiner_checkpoint",
    "workflow.refiner.model": "refiner_checkpoint",
    "workflow.refiner.switch_at": "refiner_switch_at",
    "workflow.variation.seed": "subseed",
    "workflow.inpaint.fill": "inpainting_fill",
    "workflow.inpaint.mask_blur": "mask_blur",
    "workflow.inpaint.padding": "inpaint_full_res_padding",
}


@dataclass(frozen=True)
class ParsedRequest:
    """The request for a batch of images, from which those of all batches are made.

    Args:
        request: The request of the first batch.
        target: Its pipeline.
        sampling: Its sampler.
        seed: Seed of the first image.
        subseed: Seed of the variation noise of the first image.
        layer: Layer of the text encoder, counted from the end.
        warnings: Fields that have no effect.
        client_names: The client's names of parameters.
        maps: Control images that follow those of the result.
        pairs: Pairs of the infotext that its metadata do not have.
    """

    request: GenerationRequest
    target: Target
    sampling: Sampling
    seed: int
    subseed: int
    layer: int = 1
    warnings: tuple[str, ...] = ()
    client_names: Mapping[str, str] = field(default_factory=dict)
    maps: tuple[bytes, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)

    def batch(self, index: int) -> GenerationRequest:
        """Return the request of a batch: its seeds follow those of the batches before, and its id is its own.

        The batches wait together, and the engine distinguishes requests by their ids.
        """
        request, offset = replace(self.request, id=uuid.uuid4().hex), index * self.request.num_outputs
        if request.variation is not None:
            return replace(request, variation=replace(request.variation, seed=self.subseed + offset))
        return replace(request, seed=self.seed + offset)

    def seeds(self, count: int) -> tuple[list[int], list[int]]:
        """Return the seeds and the seeds of the variation noise of all images."""
        varies = self.request.variation is not None
        return [self.seed + (0 if varies else i) for i in range(count)], [self.subseed + i for i in range(count)]


def with_params(
    parsed: ParsedRequest, params: Mapping[str, Any] | None = None, optional_params: Mapping[str, Any] | None = None
) -> ParsedRequest:
    """Return a request with other call parameters in addition."""
    request = replace(
        parsed.request,
        params={**parsed.request.params, **(params or {})},
        optional_params={**parsed.request.optional_params, **(optional_params or {})},
    )
    return replace(parsed, request=request)


def with_inputs(parsed: ParsedRequest, inputs: Mapping[str, tuple[Source, ...]]) -> ParsedRequest:
    """Return a request with other images in addition."""
    return replace(parsed, request=replace(parsed.request, inputs={**parsed.request.inputs, **inputs}))


def with_warnings(parsed: ParsedRequest, *warnings: str) -> ParsedRequest:
    """Return a request with other warnings in addition."""
    return replace(parsed, warnings=(*parsed.warnings, *warnings))


def with_part(parsed: ParsedRequest, name: str, settings: Mapping[str, Any]) -> ParsedRequest:
    """Return a request with a part of a workflow."""
    workflow = {**parsed.request.workflow, name: dict(settings)}
    return replace(parsed, request=replace(parsed.request, workflow=workflow))
