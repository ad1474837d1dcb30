"""Translate requests of the web UI to generation requests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from octabox.catalog.signature import settable_parameters
from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.extras.faces import find_restorer
from octabox.frontends.http.a1111.fields import Count, LenientModel
from octabox.frontends.http.a1111.generation.parsed import CLIENT_NAMES, ParsedRequest
from octabox.frontends.http.a1111.generation.sampling import select_sampling
from octabox.frontends.http.a1111.generation.schema import RANDOM, GenerationBody, ImageToImageBody
from octabox.frontends.http.a1111.generation.targets import IMAGE_GUIDANCE, Target
from octabox.frontends.http.a1111.generation.unsupported import FOREIGN, unsupported_warnings
from octabox.frontends.http.a1111.options import MAX_LAYER, Options, option_warnings
from octabox.frontends.http.bodies import check_fields
from octabox.noise import InitialNoise, Variation
from octabox.service.conditions.lora import without_tags
from octabox.service.planning import MAX_RANDOM_SEED
from octabox.service.protocols import Models
from octabox.service.selection.inputs import STRENGTH, number_parameter
from octabox.types import GenerationRequest

#: The prompt syntax of the web UI.
SYNTAX = "a1111"

#: Forms of the field of another server for the layer of the text encoder.
LAYER_FIELDS = ("clip_skip",)


class LayerFields(LenientModel):
    """The fields of other servers for the layer of the text encoder."""

    clip_skip: Count | None = Field(None, le=MAX_LAYER, description="As `CLIP_stop_at_last_layers`.")


def to_request(models: Models, body: GenerationBody, options: Options, target: Target) -> ParsedRequest:
    """Return the generation request for a body, without its images.

    Args:
        models: The models of this server.
        body: The body.
        options: The options of the request.
        target: Its pipeline.

    Raises:
        OctaboxError: A field has an invalid value.
    """
    sampling = select_sampling(models, target, body)
    seed, subseed = (
        secrets.randbelow(MAX_RANDOM_SEED) if each == RANDOM else each for each in (body.seed, body.subseed)
    )
    params, optional_params, extra_warnings = _params(body, target)
    layer, layer_warnings = _layer(body, options)
    skipped, skip_warnings = _skipped_layers(target, layer)
    faces, face_warnings = _faces(models, body, options)
    noise, noise_warnings = _noise(body, options)
    if sampling.choice:
        optional_params = {name: each for name, each in optional_params.items() if name not in sampling.choice.settings}
    request = GenerationRequest(
        model=target.model,
        task=target.task,
        params={**params, **skipped},
        optional_params=optional_params,
        seed=seed,
        num_outputs=body.batch_size,
        scheduler=sampling.choice,
        output=options.output,
        prompt_syntax=SYNTAX,
        styles=tuple(each for each in body.styles if each.strip()),
        variation=Variation(subseed, body.subseed_strength) if body.subseed_strength else None,
        noise=noise,
        seamless="xy" if (body.tiling if body.has("tiling") else options.tiling) else "",
        workflow=faces,
    )
    warnings = (
        *face_warnings,
        *noise_warnings,
        *sampling.warnings,
        *unsupported_warnings(body),
        *option_warnings(body.override_settings),
        *extra_warnings,
        *layer_warnings,
        *skip_warnings,
    )
    names = client_names(target) | {"workflow.noise": _noise_field(noise)}
    return ParsedRequest(request, target, sampling, seed, subseed, layer, warnings, names)


def _noise(body: GenerationBody, options: Options) -> tuple[InitialNoise | None, list[str]]:
    """Return the size and the scale of the initial noise, if the request has them, and a warning about half a size."""
    width, height = body.seed_resize_from_w, body.seed_resize_from_h
    scale = 1.0
    if isinstance(body, ImageToImageBody):
        # Many clients always send 0, which means nothing.
        scale = body.initial_noise_multiplier or options.initial_noise_multiplier
    has_size = width > 0 and height > 0
    sides = (("seed_resize_from_w", width), ("seed_resize_from_h", height))
    half = [] if has_size else [f"'{name}' has no effect without the other side." for name, side in sides if side > 0]
    if not has_size and scale == 1:
        return None, half
    return InitialNoise(width if has_size else None, height if has_size else None, scale), half


def _noise_field(noise: InitialNoise | None) -> str:
    """Return the field of the web UI that the initial noise comes from."""
    return "seed_resize_from_w" if noise and noise.width else "initial_noise_multiplier"


def _faces(models: Models, body: GenerationBody, options: Options) -> tuple[dict[str, Any], list[str]]:
    """Return the workflow that restores faces, if the request has it, and a warning if no model of the name does."""
    if not body.restore_faces:
        return {}, []
    requested = options.face_restoration_model
    name, is_same = find_restorer(models, requested)
    if name is None:
        return {}, ["'restore_faces' has no effect: there is no model that restores faces, such as GFPGAN."]
    warning = f"'face_restoration_model': '{name}' restores faces, since there is no model {(requested or '')[:60]!r}."
    return {"faces": {"model": name}}, [] if is_same else [warning]


def client_names(target: Target) -> dict[str, str]:
    """Return the names of the web UI of call parameters, for errors and warnings."""
    names = {
        target.steps: "steps",
        target.guidance: "cfg_scale",
        STRENGTH: "denoising_strength",
        "num_outputs": "batch_size",
        "variation": "subseed_strength",
        "workflow.seamless": "tiling",
        **dict.fromkeys(IMAGE_GUIDANCE, "image_cfg_scale"),
        **CLIENT_NAMES,
    }
    if target.distilled_guidance:
        names[target.distilled_guidance] = "distilled_cfg_scale"
    if target.image:
        names[target.image] = "init_images"
    if target.mask:
        names[target.mask] = "mask"
    return names


def _params(body: GenerationBody, target: Target) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return the call parameters, those that are ignored with a warning if the pipeline lacks them, and warnings."""
    params: dict[str, Any] = {}
    optional_params: dict[str, Any] = {}
    prompts = {"prompt": body.prompt, "negative_prompt": body.negative_prompt}
    if body.disable_extra_networks:
        prompts = without_tags({"prompt": body.prompt})[0] | {"negative_prompt": body.negative_prompt}
    if target.takes("prompt"):
        params["prompt"] = prompts["prompt"]
    elif prompts["prompt"].strip():
        optional_params["prompt"] = prompts["prompt"]
    if prompts["negative_prompt"].strip():
        optional_params["negative_prompt"] = prompts["negative_prompt"]
    values = {target.steps: "steps", target.guidance: "cfg_scale", "eta": "eta"}
    if target.distilled_guidance:
        values[target.distilled_guidance] = "distilled_cfg_scale"
    optional_params |= {name: getattr(body, each) for name, each in values.items() if body.has(each)}
    warnings = []
    if body.has("distilled_cfg_scale") and not target.distilled_guidance:
        warnings.append(f"'distilled_cfg_scale' has no effect: {target.entry.name} has no such guidance.")
    extension, unknown = _extension(body, target)
    for name in extension.keys() & values.keys() & optional_params.keys():
        raise _same_parameter(values[name], name)
    return params, {**optional_params, **extension}, [*warnings, *unknown]


def _same_parameter(field: str, name: str) -> InvalidParameterError:
    """Return the error for a call parameter that is also set by a field of the web UI."""
    message = f"'{field}' and '{name}' are the same parameter."
    return InvalidParameterError(message, hint="Send one of them.", parameter=name)


def _extension(body: GenerationBody, target: Target) -> tuple[dict[str, Any], list[str]]:
    """Return the unknown fields that are call parameters of the pipeline, and a warning for each other one."""
    accepted = {each.name for each in settable_parameters(target.entry) if not each.is_file}
    found = {name: value for name, value in body.unknown.items() if name in accepted and name not in LAYER_FIELDS}
    rest = [name for name in body.unknown if name not in found and name not in FOREIGN and name not in LAYER_FIELDS]
    return found, [f"'{name[:60]}' has no effect: there is no such field." for name in rest]


def _layer(body: GenerationBody, options: Options) -> tuple[int, list[str]]:
    """Return the layer of the text encoder, counted from the end, and a warning if a request has two.

    It is that of the options, or that of SD.Next's field, in which 0 is the last one too.

    Raises:
        InvalidParameterError: The field is not a number.
    """
    option = options.CLIP_stop_at_last_layers
    sent = {name: each for name, each in body.unknown.items() if name in LAYER_FIELDS}
    value = check_fields(LayerFields, sent).clip_skip
    if value is None or value in (option, 0, -1):
        return option, []
    if option != 1:
        return option, [f"'clip_skip' {value} has no effect: 'CLIP_stop_at_last_layers' is {option}."]
    return max(value, 1), []


def _skipped_layers(target: Target, layer: int) -> tuple[dict[str, int], Iterator[str]]:
    """Return the parameter for skipped layers, and a warning if there is none.

    The web UI counts the layer that is used from the end. How many layers that skips depends on the pipeline.
    """
    default = target.entry.last_layer
    if layer <= max(default, 1):
        return {}, iter(())
    if not default or not target.takes("clip_skip"):
        text = f"'CLIP_stop_at_last_layers' has no effect: {target.entry.name} skips no layers."
        return {}, iter((text,))
    return {"clip_skip": layer - default}, iter(())


def image_params(body: ImageToImageBody, target: Target) -> dict[str, Any]:
    """Return the strength, and the guidance by the image, where the pipeline has one."""
    params: dict[str, Any] = {}
    if target.takes(STRENGTH) or body.has("denoising_strength"):
        params[STRENGTH] = max(body.denoising_strength, least_strength(body, target))
    if body.image_cfg_scale is not None:
        name = number_parameter(target.entry, *IMAGE_GUIDANCE) or IMAGE_GUIDANCE[0]
        params[name] = body.image_cfg_scale
    fields = {name: "denoising_strength" if name == STRENGTH else "image_cfg_scale" for name in params}
    for name in params.keys() & body.unknown.keys():
        if body.has(fields[name]):
            raise _same_parameter(fields[name], name)
    return {name: value for name, value in params.items() if name not in body.unknown}


def least_strength(body: GenerationBody, target: Target) -> float:
    """Return the strength that leaves one step of those that a pipeline runs."""
    # A multiple of the steps may otherwise be rounded down to none.
    return min((1 + 1e-6) / (requested_steps(body, target) or target.default_steps or body.steps), 1.0)


def requested_steps(body: GenerationBody, target: Target) -> int | None:
    """Return the number of steps of a request, by the name of the web UI or that of the pipeline; None without one."""
    if body.has("steps"):
        return body.steps
    found = body.unknown.get(target.steps)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def mask_blur(body: ImageToImageBody) -> int | list[int]:
    """Return the radius of a mask's blur, or both radii if they differ."""
    if body.mask_blur is not None:
        return body.mask_blur
    return body.mask_blur_x if body.mask_blur_x == body.mask_blur_y else [body.mask_blur_x, body.mask_blur_y]


def check_count(body: GenerationBody, images: int, limit: int) -> int:
    """Return the number of outputs of a request.

    Args:
        body: The body.
        images: Number of source images; 1 for none.
        limit: Maximum number of outputs.

    Raises:
        InvalidParameterError: There are too many.
    """
    if images > max(body.batch_size, 1) and body.has("batch_size") and body.batch_size > 1:
        raise InvalidParameterError(
            f"'init_images' has {images} images, and 'batch_size' is {body.batch_size}.",
            hint="Send as many images as the batch has, or one.",
            parameter="init_images",
        )
    count = (images if images > 1 else body.batch_size) * body.n_iter
    if count > limit:
        raise InvalidParameterError(
            f"A request may have 1 to {limit} images, not {count}.",
            hint="Send several requests, or raise `max_outputs`.",
            parameter="n_iter",
        )
    return count
