"""Translate LocalAI's messages for images and videos to generation requests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from octabox.catalog.entries import ParameterKind
from octabox.config.localai.rules import option_value
from octabox.errors import InvalidParameterError, MediaError, MissingParameterError
from octabox.frontends.grpc.localai.contract import Message
from octabox.frontends.grpc.localai.environment import Environment
from octabox.media.formats import FORMATS, format_of_suffix
from octabox.service.selection.inputs import FRAMES, RATES, InputBindings
from octabox.service.workflows.upscale import check_enlarges
from octabox.types import GenerationRequest, Kind, OutputFormat, Source

#: Reads the file at a path, for a field of a message.
Read = Callable[[str, str], bytes]

#: Parameters that EnableParameters can leave out.
SELECTABLE = ("negative_prompt", "num_inference_steps", "clip_skip")

#: Width and height of a video that LocalAI's core sends where its client sets none.
CORE_SIDE = 512

#: Keys of a JSON file with an image and its mask.
IMAGE, MASK = "image", "mask_image"

#: First bytes of audio files and of videos. Other files are decoded as images.
_AUDIO = re.compile(rb"RIFF.{4}WAVE|fLaC|OggS|ID3|\xff[\xf2\xf3\xfb]", re.DOTALL)
_VIDEO = re.compile(rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ", re.DOTALL)


@dataclass(frozen=True)
class Context:
    """The model that a message is translated for.

    Args:
        bindings: Pipelines of the model, and the parameters for its inputs.
        defaults: Default call parameters of its configuration.
        environment: LocalAI's variables.
        read: Reads a file.
    """

    bindings: InputBindings
    defaults: Mapping[str, Any]
    environment: Environment
    read: Read


def image_request(message: Message, context: Context) -> GenerationRequest:
    """Return the generation request for GenerateImage.

    Size and steps are optional, because the core always sends them. A video model generates an animated image.

    Raises:
        RequestError: A field has an invalid value, or is not supported by the model.
    """
    bindings = context.bindings.making("image", "video", "array", "mesh")
    inputs = _bind_images(message, bindings, context.read)
    optional_params: dict[str, Any] = nonzero({"width": message.width, "height": message.height})
    optional_params |= nonzero({"num_inference_steps": message.step})
    if context.environment.clipskip:
        optional_params |= nonzero({"clip_skip": message.CLIPSkip})
    params: dict[str, Any] = {"negative_prompt": message.negative_prompt} if message.negative_prompt else {}
    optional_params |= prompt_parameters(message.positive_prompt, context)
    params |= _remove_disabled(message.EnableParameters, params, optional_params, context)
    video = bindings.preferred.output_kind == "video"
    frames = bindings.number(*FRAMES) if video and not inputs else None
    if frames and frames not in context.defaults:
        optional_params[frames] = context.environment.frames
    return GenerationRequest(
        model=bindings.model,
        params=params,
        optional_params=optional_params,
        inputs=inputs,
        seed=_parse_seed(message.seed),
        output=OutputFormat("png", fps=context.environment.fps if video else None),
    )


def video_request(message: Message, context: Context) -> GenerationRequest:
    """Return the generation request for GenerateVideo. 0 and empty fields are the defaults of the model.

    A side that may be the core's own is optional, because many pipelines derive the size from their input.

    Raises:
        RequestError: A field has an invalid value, or is not supported by the model.
    """
    bindings = context.bindings.making("video")
    inputs: dict[str, tuple[Source, ...]] = {}
    if message.start_image:
        source = context.read(message.start_image, "start_image")
        inputs[bindings.medium(_media_type_of(source), "start_image")] = (source,)
    if message.end_image:
        inputs[bindings.last_image("end_image")] = (context.read(message.end_image, "end_image"),)
    if message.audio:
        inputs[bindings.medium("audio", "audio")] = (context.read(message.audio, "audio"),)
    params = {name: option_value(text) for name, text in message.params.items()}
    rate, frames = bindings.number(*RATES), bindings.number(*FRAMES)
    if message.num_frames and frames is None:
        message_text = f"{bindings.preferred.name} makes videos of a fixed length."
        raise InvalidParameterError(message_text, hint="Leave num_frames out.", parameter="num_frames")
    sides = nonzero({"width": message.width, "height": message.height})
    of_core = {name: side for name, side in sides.items() if side == CORE_SIDE}
    fields = {name: side for name, side in sides.items() if name not in of_core}
    fields |= nonzero({frames or "": message.num_frames})
    fields |= {"negative_prompt": message.negative_prompt} if message.negative_prompt else {}
    optional_params = nonzero(
        {"num_inference_steps": message.step, "guidance_scale": message.cfg_scale, rate or "": message.fps}
    )
    optional_params |= prompt_parameters(message.prompt, context)
    _check_conflicts(params, {**fields, **optional_params})
    params, optional_params = {**fields, **params}, {**of_core, **optional_params}
    return GenerationRequest(
        model=bindings.model,
        params=params,
        optional_params={name: value for name, value in optional_params.items() if name not in params},
        inputs=inputs,
        # LocalAI's core sends 0 for a video without a seed.
        seed=message.seed if message.seed > 0 else None,
        output=OutputFormat(format_of_path(message.dst, "video"), fps=message.fps or None),
    )


def _check_conflicts(params: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Check that no field has another value than the same parameter in ``params``.

    Raises:
        InvalidParameterError: One has.
    """
    for name in fields.keys() & params.keys():
        value, other = fields[name], params[name]
        # The fields for numbers have less precision.
        is_number = isinstance(value, int | float) and isinstance(other, int | float)
        is_equal = math.isclose(value, other, rel_tol=1e-6) if is_number else value == other
        if value and not is_equal:
            message = f"'params' and its field set '{name}' to different values: {other!r} and {value!r}."
            raise InvalidParameterError(message, hint="Set one of them.", parameter=name)


def upscale_request(message: Message, context: Context) -> GenerationRequest:
    """Return the generation request for UpscaleImage, which the model's default pipeline must support.

    Raises:
        RequestError: A field has an invalid value, or is not supported by the model.
    """
    bindings = context.bindings.making("image")
    if not message.src:
        raise MissingParameterError("'src' is missing.", hint="Set the path of the image to upscale.", parameter="src")
    if message.scale < 0:
        raise InvalidParameterError(f"'scale' must be at least 1, not {message.scale}.", parameter="scale")
    check_enlarges(bindings.preferred, bindings.model)
    name = InputBindings(bindings.model, bindings.entries[:1]).medium("image", "src")
    return GenerationRequest(
        model=bindings.model,
        optional_params=prompt_parameters("", context),
        inputs={name: (context.read(message.src, "src"),)},
        output=OutputFormat("png"),
    )


def _bind_images(message: Message, bindings: InputBindings, read: Read) -> dict[str, tuple[Source, ...]]:
    """Return the media of GenerateImage: the source and the references, each file once; or an image and its mask."""
    source = read(message.src, "src") if message.src else b""
    if source.lstrip()[:1] == b"{":
        # The references of such a request are the same image and mask again.
        image, mask = _parse_image_and_mask(source)
        return {bindings.medium("mask", MASK): (mask,), bindings.medium("image", IMAGE): (image,)}
    files = {each: read(each, "ref_images") for each in message.ref_images if each}
    if source and message.src not in files:
        files = {message.src: source, **files}
    if not files:
        return {}
    media = tuple(files.values())
    field = "ref_images" if message.ref_images else "src"
    media_type = _media_type_of(media[0])
    return {bindings.medium(media_type, field, many=len(media) > 1): media}


def _parse_image_and_mask(content: bytes) -> tuple[str, str]:
    """Return the image and the mask of a JSON file, in base64.

    Raises:
        MediaError: The file has no image or no mask.
    """
    try:
        parsed = json.loads(content)
        image, mask = parsed[IMAGE], parsed[MASK]
    except (ValueError, KeyError, RecursionError):
        image = mask = None
    if not isinstance(image, str) or not isinstance(mask, str):
        hint = f'It must be {{"{IMAGE}": base64, "{MASK}": base64}}.'
        raise MediaError("'src' is a JSON file without an image and a mask.", hint=hint, parameter="src")
    return image, mask


def _media_type_of(content: bytes) -> ParameterKind:
    """Return the media type of a file, by its first bytes."""
    if _AUDIO.match(content):
        return "audio"
    return "video" if _VIDEO.match(content) else "image"


def prompt_parameters(text: str, context: Context) -> dict[str, str]:
    """Return the prompt; an empty one only if the model takes a prompt and has no default."""
    if text:
        return {"prompt": text}
    needed = context.bindings.preferred.parameter("prompt") is not None and "prompt" not in context.defaults
    return {"prompt": ""} if needed else {}


def nonzero(values: Mapping[str, float]) -> dict[str, Any]:
    """Return the values that are not 0, which is the default, and have a name.

    Raises:
        InvalidParameterError: A value is negative.
    """
    named = {name: value for name, value in values.items() if value and name}
    for name, value in named.items():
        if value < 0:
            raise InvalidParameterError(f"'{name}' must be at least 0, not {value:g}.", parameter=name)
    return named


def _remove_disabled(
    enabled: str, params: dict[str, Any], optional_params: dict[str, Any], context: Context
) -> dict[str, None]:
    """Remove the parameters that the list of enabled ones, if there is one, leaves out.

    Returns:
        None for those that the model's configuration would set otherwise, if all its pipelines take None.
    """
    names = {name.strip() for name in enabled.split(",") if name.strip()}
    disabled = [name for name in SELECTABLE if names and name not in names]
    for name in disabled:
        params.pop(name, None)
        optional_params.pop(name, None)
    return {name: None for name in disabled if name in context.defaults and _may_be_none(context.bindings, name)}


def _may_be_none(bindings: InputBindings, name: str) -> bool:
    """Return whether a parameter of every pipeline is None by default."""
    parameters = [entry.parameter(name) for entry in bindings.entries]
    return all(each is not None and not each.required and each.default is None for each in parameters)


def _parse_seed(seed: int) -> int | None:
    """Return a seed; None, for one at random, if it is negative."""
    return None if seed < 0 else seed


def format_of_path(dst: str, media_type: Kind) -> str | None:
    """Return the format of a path's suffix; None, for the default, if the format cannot hold the media type."""
    name = format_of_suffix(PurePath(dst).suffix)
    is_image = media_type == "video" and name in ("png", "jpeg")
    return name if name is not None and media_type in FORMATS[name].kinds and not is_image else None
