"""The second pass of ``txt2img`` as a workflow: hires fix, and a refiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from octabox.errors import InvalidParameterError, OctaboxError
from octabox.frontends.http.a1111.checkpoints import find_other
from octabox.frontends.http.a1111.generation.parsed import ParsedRequest, with_part, with_warnings
from octabox.frontends.http.a1111.generation.sampling import Sampling, sampling_of
from octabox.frontends.http.a1111.generation.schema import GenerationBody, TextToImageBody
from octabox.frontends.http.a1111.generation.targets import Target, image_target
from octabox.frontends.http.a1111.generation.translate import least_strength, requested_steps
from octabox.frontends.http.a1111.modules import missing_warning, model_with, requested_modules
from octabox.frontends.http.a1111.samplers import is_default
from octabox.frontends.http.a1111.upscalers import find_upscaler
from octabox.frontends.http.context import AppContext
from octabox.prompts.styles import Style, apply_style, load_styles, select_styles
from octabox.service.conditions.lora import without_tags
from octabox.service.protocols import Models
from octabox.service.workflows.resize import LANCZOS, LATENT_FILTERS
from octabox.types import SchedulerChoice

#: Default of the web UI for the upscaler of the second pass.
DEFAULT_UPSCALER = "Latent"

#: Minimum strength of a second pass, and minimum fraction of the steps before a refiner.
MIN_STRENGTH = 0.01


@dataclass(frozen=True)
class SecondPass:
    """A second pass.

    Args:
        settings: Its settings in a workflow.
        warnings: Parts of it that have no effect.
    """

    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def hires_pass(
    ctx: AppContext, models: Models, target: Target, body: TextToImageBody, sampling: Sampling
) -> SecondPass:
    """Return the second pass of a request.

    Args:
        ctx: Collaborators of the routes.
        models: The models of the server, as the request sees them.
        target: The pipeline of the first pass.
        body: The body.
        sampling: The sampler of the first pass.

    Raises:
        OctaboxError: There is no such model, upscaler or sampler.
    """
    model, module_warnings = _model(models, target, body)
    second = second_target(models, model, target)
    steps = body.hr_second_pass_steps or requested_steps(body, target)
    # Another model may have the requested sampler that the first one lacks.
    requested = body.sampler_index if is_default(body.sampler_name) else body.sampler_name
    own = sampling.choice.name if sampling.choice else None
    choice, warnings = _scheduler(models, second, body, requested if model else own)
    params, notes = _params(second, body, _styles(ctx, body) if _has_prompts(body) else ())
    # The pipeline is asked for so many steps that those of the pass are left, which has a limit.
    least = min(steps / ctx.settings.max_steps, 1.0) if steps else least_strength(body, second)
    if steps and least > max(body.denoising_strength, MIN_STRENGTH):
        notes += (f"'denoising_strength' is {least:g}: for less, {steps} steps would exceed the limit `max_steps`.",)
    settings = {
        "upscaler": find_upscaler(models, body.hr_upscaler or DEFAULT_UPSCALER, "hr_upscaler", latent=True) or LANCZOS,
        **_size(body),
        "strength": max(body.denoising_strength, MIN_STRENGTH, least),
        "steps": steps,
        "model": model,
        "scheduler": choice,
        "params": params,
    }
    return SecondPass(
        {name: each for name, each in settings.items() if each is not None}, (*module_warnings, *warnings, *notes)
    )


def _model(models: Models, target: Target, body: TextToImageBody) -> tuple[str | None, tuple[str, ...]]:
    """Return the model of the second pass, if it is another one, and warnings about its modules."""
    model = find_other(models, body.hr_checkpoint_name, "hr_checkpoint_name")
    names = requested_modules(body.hr_additional_modules)
    if not names:
        return model, ()
    found, missing = model_with(models, model or target.model, names)
    warnings = tuple(missing_warning(models, found, name, "hr_additional_modules") for name in missing)
    return (model if found == target.model else found), warnings


def second_target(models: Models, model: str | None, first: Target) -> Target:
    """Return the pipeline of the second pass; that of the first, if the model paints over no image."""
    try:
        return image_target(models, model or first.model)
    except OctaboxError:
        return first  # The workflow reports it.


def _has_prompts(body: TextToImageBody) -> bool:
    """Return whether a request has prompts of its own for the second pass."""
    return bool(body.hr_prompt.strip() or body.hr_negative_prompt.strip())


def _styles(ctx: AppContext, body: GenerationBody) -> list[Style]:
    """Return the styles of a request, which apply to the prompts of both passes.

    Raises:
        InvalidParameterError: There is no such style.
    """
    names = [each for each in body.styles if each.strip()]
    return select_styles(names, load_styles(ctx.settings.styles)) if names else []


def refiner_part(models: Models, body: GenerationBody) -> dict[str, Any] | None:
    """Return the refiner of a request in a workflow; None if it has none.

    Raises:
        InvalidParameterError: The fraction is missing.
        ModelNotFoundError: There is no such model.
    """
    model = find_other(models, body.refiner_checkpoint, "refiner_checkpoint")
    if model is None:
        return None
    if body.refiner_switch_at is None:
        message = "'refiner_switch_at' is missing: the fraction of the steps before the refiner."
        raise InvalidParameterError(message, hint="Such as 0.8.", parameter="refiner_switch_at")
    if body.refiner_switch_at == 1:
        return None
    return {"model": model, "switch_at": max(body.refiner_switch_at, MIN_STRENGTH)}


def _size(body: TextToImageBody) -> dict[str, Any]:
    """Return the size of the result, or the scale."""
    size = {"width": body.hr_resize_x or None, "height": body.hr_resize_y or None}
    if body.firstphase_width or body.firstphase_height:
        size = {"width": body.width, "height": body.height}
    if not any(size.values()):
        return {"scale": body.hr_scale}
    # An image of another shape is cropped to that of both sides.
    return {**size, "crop": True} if all(size.values()) else size


def _scheduler(
    models: Models, target: Target, body: TextToImageBody, first: str | None
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return the sampler of the second pass, if it differs, and warnings about it.

    Args:
        models: The models of this server.
        target: The pipeline of the second pass.
        body: The body.
        first: The sampler of the first pass; None for that of the model.
    """
    if is_default(body.hr_sampler_name) and is_default(body.hr_scheduler):
        return None, ()
    name = first if is_default(body.hr_sampler_name) else body.hr_sampler_name
    schedule = body.scheduler if is_default(body.hr_scheduler) else body.hr_scheduler
    found = sampling_of(models, target, name, schedule)
    warnings = tuple(
        each.replace("'sampler_name'", "'hr_sampler_name'").replace("'scheduler'", "'hr_scheduler'")
        for each in found.warnings
    )
    return scheduler_to_json(found.choice), warnings


def scheduler_to_json(choice: SchedulerChoice | None) -> dict[str, Any] | None:
    """Return a sampler as a setting of a workflow."""
    return None if choice is None else {"name": choice.name, **choice.settings}


def _params(target: Target, body: TextToImageBody, styles: Sequence[Style]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the call parameters of the second pass that differ, and warnings about its prompts."""
    params: dict[str, Any] = {}
    warnings: list[str] = []
    for name in ("prompt", "negative_prompt"):
        text = getattr(body, f"hr_{name}")
        if not text.strip():
            continue
        if not target.takes(name):
            warnings.append(f"'hr_{name}' has no effect: {target.entry.name} has no {name}.")
            continue
        tagged = without_tags({name: text})[1]
        if tagged and tagged != without_tags({"prompt": body.prompt})[1]:
            warnings.append(f"The LoRAs in 'hr_{name}' have no effect: those of 'prompt' apply to both passes.")
        styled = apply_style(text, [getattr(each, name) for each in styles], f"hr_{name}")
        params |= without_tags({name: styled})[0]
    for field, parameter in (("hr_cfg", target.guidance), ("hr_distilled_cfg", target.distilled_guidance)):
        value = getattr(body, field)
        if value is None:
            continue
        if parameter is None or not target.takes(parameter):
            warnings.append(f"'{field}' has no effect: {target.entry.name} has no such parameter.")
        else:
            params[parameter] = value
    return params, tuple(warnings)


def with_refiner(parsed: ParsedRequest, refiner: Mapping[str, Any] | None) -> ParsedRequest:
    """Return a request with a refiner, if there is one."""
    return with_part(parsed, "refiner", refiner) if refiner else parsed


def with_second_pass(parsed: ParsedRequest, second: SecondPass) -> ParsedRequest:
    """Return a request with a second pass."""
    parsed = with_warnings(parsed, *second.warnings)
    if "refiner" in parsed.request.workflow and second.settings["upscaler"] in LATENT_FILTERS:
        warning = (
            "'refiner_checkpoint' has no effect with a second pass over latents: set 'hr_upscaler' to that of an image."
        )
        workflow = {name: each for name, each in parsed.request.workflow.items() if name != "refiner"}
        parsed = replace(with_warnings(parsed, warning), request=replace(parsed.request, workflow=workflow))
    return with_part(parsed, "hires", second.settings)
