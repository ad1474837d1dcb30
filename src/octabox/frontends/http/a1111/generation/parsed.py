"""A request of the web UI that is translated, and changes of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from octabox.frontends.http.a1111.generation.sampling import Sampling
from octabox.frontends.http.a1111.generation.targets import Target
from octabox.schedulers.names import resolve_scheduler
from octabox.types import GenerationRequest, Source

#: Call parameters that are text.
PROMPTS = ("prompt", "negative_prompt")

#: The call parameter for the layers of the text encoder that are skipped.
SKIPPED_LAYERS = "clip_skip"

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

    def seeds(self, positions: Iterable[int]) -> tuple[list[int], list[int]]:
        """Return the seeds and the seeds of the variation noise of images.

        Args:
            positions: Their indices among the images of all batches, whether those before them are finished or not.
        """
        found, varies = [*positions], self.request.variation is not None
        return [self.seed + (0 if varies else each) for each in found], [self.subseed + each for each in found]


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


def describe_unfinished(
    parsed: ParsedRequest, request: GenerationRequest, output: int, known: Collection[str]
) -> dict[str, Any]:
    """Return the metadata of an image that was interrupted, as far as they are known before its end.

    Args:
        parsed: The translated request.
        request: The request of its batch.
        output: Index of the image in its batch.
        known: The available classes of samplers.
    """
    target, variation, noise = parsed.target, request.variation, request.noise
    defaults = {each.name: each.default for each in target.entry.parameters if each.literal}
    params = {**defaults, **target.served.config.defaults, **request.optional_params, **request.params}
    described = {
        name: each
        for name, each in params.items()
        if target.takes(name) and (isinstance(each, int | float) or (each and name in PROMPTS))
    }
    last, skipped = target.entry.last_layer, described.get(SKIPPED_LAYERS)
    metadata = {
        "model": target.model,
        "pipeline": target.entry.name,
        "task": request.task,
        "params": described,
        "scheduler": _describe_sampling(parsed.sampling, known),
        "clip_layer": last + skipped if last and skipped is not None else None,
        "prompt_syntax": request.prompt_syntax,
        "variation": asdict(variation) | {"seed": variation.seed + output} if variation else None,
        "noise": {name: each for name, each in asdict(noise).items() if each is not None} if noise else None,
        "seamless": {"axes": request.seamless} if request.seamless else None,
        "workflow": dict(request.workflow),
    }
    return {name: each for name, each in metadata.items() if each}


def _describe_sampling(sampling: Sampling, known: Collection[str]) -> dict[str, Any]:
    """Return a sampler in metadata; empty if it is not known before the model is loaded."""
    if not sampling.label:
        return {}
    choice = sampling.choice
    resolved = resolve_scheduler(choice.name, choice.settings, known) if choice else None
    schedule = {"schedule": resolved.schedule.name} if resolved and resolved.schedule else {}
    return {"name": sampling.label, "settings": dict(choice.settings) if choice else {}, **schedule}
