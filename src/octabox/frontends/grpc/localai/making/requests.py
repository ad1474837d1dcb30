"""From LocalAI's messages to generation requests: whatever a message says goes to the pipeline by name."""

from __future__ import annotations

import json
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
from octabox.service.selection.inputs import FRAMES, RATES, SECONDS, InputBindings
from octabox.service.workflows.upscale import check_enlarges
from octabox.types import GenerationRequest, Kind, OutputFormat, Source

#: Reads the file at a path that a field of a message names.
Read = Callable[[str, str], bytes]

#: Parameters that EnableParameters lets through or not; all else is not asked about.
LISTED = ("negative_prompt", "num_inference_steps", "clip_skip")

#: Keys of the JSON file that brings an image and its mask.
IMAGE, MASK = "image", "mask_image"

#: How files of audio and of videos begin; any other is taken for an image, and refused as one where it is none.
_AUDIO = re.compile(rb"RIFF.{4}WAVE|fLaC|OggS|ID3|\xff[\xf2\xf3\xfb]", re.DOTALL)
_VIDEOS = re.compile(rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ", re.DOTALL)


@dataclass(frozen=True)
class Context:
    """What a message is translated with.

    Args:
        takers: The pipelines of the model.
        defaults: Call parameters of its configuration.
        environment: LocalAI's variables.
        read: Reads a file.
    """

    bindings: InputBindings
    defaults: Mapping[str, Any]
    environment: Environment
    read: Read


def image_request(message: Message, context: Context) -> GenerationRequest:
    """Return what GenerateImage asks for.

    Sizes and steps are always sent, so they hold where the pipeline has them. A model of videos makes an animated image.

    Raises:
        RequestError: A field has a wrong value, or the model cannot take it.
    """
    bindings = context.bindings.making("image", "video", "array", "mesh")
    inputs = _images(message, bindings, context.read)
    wishes: dict[str, Any] = _positive({"width": message.width, "height": message.height})
    wishes |= _positive({"num_inference_steps": message.step})
    if context.environment.clipskip:
        wishes |= _positive({"clip_skip": message.CLIPSkip})
    params: dict[str, Any] = {"negative_prompt": message.negative_prompt} if message.negative_prompt else {}
    wishes |= _prompt(message.positive_prompt, context)
    _keep_enabled(message.EnableParameters, params, wishes)
    video = bindings.own.output_kind == "video"
    frames = bindings.number(*FRAMES) if video and not inputs else None
    if frames and frames not in context.defaults:
        wishes[frames] = context.environment.frames
    return GenerationRequest(
        model=bindings.model,
        params=params,
        wishes=wishes,
        inputs=inputs,
        seed=_seed(message.seed),
        output=OutputFormat("png", fps=context.environment.fps if video else None),
    )


def video_request(message: Message, context: Context) -> GenerationRequest:
    """Return what GenerateVideo asks for; what is 0 or empty is the model's own.

    Raises:
        RequestError: A field has a wrong value, or the model cannot take it.
    """
    bindings = context.bindings.making("video")
    inputs: dict[str, tuple[Source, ...]] = {}
    if message.start_image:
        source = context.read(message.start_image, "start_image")
        inputs[bindings.medium(_kind_of(source), "start_image")] = (source,)
    if message.end_image:
        inputs[bindings.last_image("end_image")] = (context.read(message.end_image, "end_image"),)
    if message.audio:
        inputs[bindings.medium("audio", "audio")] = (context.read(message.audio, "audio"),)
    params = {name: option_value(text) for name, text in message.params.items()}
    rate, frames = bindings.number(*RATES), bindings.number(*FRAMES)
    if message.num_frames and frames is None:
        own = bindings.own.name
        raise InvalidParameterError(
            f"{own} makes videos of one length.", hint="Leave num_frames out.", parameter="num_frames"
        )
    sizes = {"width": message.width, "height": message.height, frames or "": message.num_frames}
    for name, value in _positive(sizes).items():
        params.setdefault(name, value)
    if message.negative_prompt:
        params.setdefault("negative_prompt", message.negative_prompt)
    wishes = _positive(
        {"num_inference_steps": message.step, "guidance_scale": message.cfg_scale, rate or "": message.fps}
    )
    wishes |= _prompt(message.prompt, context)
    return GenerationRequest(
        model=bindings.model,
        params=params,
        wishes={name: value for name, value in wishes.items() if name not in params},
        inputs=inputs,
        # LocalAI's core sends 0 where its client gives no seed for a video.
        seed=message.seed if message.seed > 0 else None,
        output=OutputFormat(_format(message.dst, "video"), fps=message.fps or None),
    )


def upscale_request(message: Message, context: Context) -> GenerationRequest:
    """Return what UpscaleImage asks for: the model's own pipeline must take an image, and no words but for a hint.

    Raises:
        RequestError: A field has a wrong value, or the model cannot take it.
    """
    bindings = context.bindings.making("image")
    if not message.src:
        raise MissingParameterError("'src' is missing.", hint="Name the image to enlarge.", parameter="src")
    if message.scale < 0:
        raise InvalidParameterError(f"'scale' must be at least 1, not {message.scale}.", parameter="scale")
    check_enlarges(bindings.own, bindings.model)
    name = InputBindings(bindings.model, bindings.entries[:1]).medium("image", "src")
    return GenerationRequest(
        model=bindings.model,
        wishes=_prompt("", context),
        inputs={name: (context.read(message.src, "src"),)},
        output=OutputFormat("png"),
    )


def audio_request(message: Message, context: Context) -> GenerationRequest:
    """Return what SoundGeneration asks for.

    Raises:
        RequestError: A field has a wrong value, or the model cannot take it.
    """
    bindings = context.bindings.making("audio")
    inputs: dict[str, tuple[Source, ...]] = {}
    if message.src:
        inputs[bindings.medium("audio", "src")] = (context.read(message.src, "src"),)
    params: dict[str, Any] = {}
    if message.HasField("duration"):
        name = bindings.number(*SECONDS)
        if name is None:
            own, hint = bindings.own.name, "Leave duration out."
            raise InvalidParameterError(f"{own} makes audio of one length.", hint=hint, parameter="duration")
        params[name] = message.duration
    given = {name: getattr(message, name) for name in ("temperature", "sample") if message.HasField(name)}
    return GenerationRequest(
        model=bindings.model,
        params=params,
        wishes={**given, **_prompt(message.text, context)},
        inputs=inputs,
        output=OutputFormat(_format(message.dst, "audio")),
    )


def _images(message: Message, bindings: InputBindings, read: Read) -> dict[str, tuple[Source, ...]]:
    """Return the media of GenerateImage: the references before the source, each file once; or an image and its mask."""
    source = read(message.src, "src") if message.src else b""
    if source.lstrip()[:1] == b"{":
        # The references of such a request are the same image and mask once more.
        image, mask = _with_mask(source)
        return {bindings.medium("mask", MASK): (mask,), bindings.medium("image", IMAGE): (image,)}
    files = {each: read(each, "ref_images") for each in message.ref_images if each}
    if source and message.src not in files:
        files = {message.src: source, **files}
    if not files:
        return {}
    media = tuple(files.values())
    field = "ref_images" if message.ref_images else "src"
    kind = _kind_of(media[0])
    return {bindings.medium(kind, field, many=len(media) > 1): media}


def _with_mask(content: bytes) -> tuple[str, str]:
    """Return the image and the mask of a JSON file, in base64.

    Raises:
        MediaError: It is no such file.
    """
    try:
        found = json.loads(content)
        image, mask = found[IMAGE], found[MASK]
    except (ValueError, KeyError, RecursionError):
        image = mask = None
    if not isinstance(image, str) or not isinstance(mask, str):
        hint = f'It must be {{"{IMAGE}": base64, "{MASK}": base64}}.'
        raise MediaError("'src' is a JSON file without an image and a mask.", hint=hint, parameter="src")
    return image, mask


def _kind_of(content: bytes) -> ParameterKind:
    """Return what a file is, by how it begins."""
    if _AUDIO.match(content):
        return "audio"
    return "video" if _VIDEOS.match(content) else "image"


def _prompt(text: str, context: Context) -> dict[str, str]:
    """Return the prompt; an empty one is one too, unless the model has its own or takes none."""
    if text:
        return {"prompt": text}
    taken = context.bindings.own.parameter("prompt") is not None and "prompt" not in context.defaults
    return {"prompt": ""} if taken else {}


def _positive(values: Mapping[str, float]) -> dict[str, Any]:
    """Return what was given: 0 stands for nothing, and so does a name that no pipeline has."""
    given = {name: value for name, value in values.items() if value and name}
    for name, value in given.items():
        if value < 0:
            raise InvalidParameterError(f"'{name}' must not be below 0, as {value:g} is.", parameter=name)
    return given


def _keep_enabled(enabled: str, params: dict[str, Any], wishes: dict[str, Any]) -> None:
    """Take out what the list of enabled parameters, if there is one, leaves out."""
    names = {name.strip() for name in enabled.split(",") if name.strip()}
    for name in LISTED:
        if names and name not in names:
            params.pop(name, None)
            wishes.pop(name, None)


def _seed(seed: int) -> int | None:
    """Return a seed; LocalAI's core sends -1 for one at random."""
    return None if seed < 0 else seed


def _format(dst: str, kind: Kind) -> str | None:
    """Return the format that a path's suffix stands for; None, the usual one, where it can hold no such thing."""
    name = format_of_suffix(PurePath(dst).suffix)
    moving = name is not None and kind in FORMATS[name].kinds and not (kind == "video" and name in ("png", "jpeg"))
    return name if moving else None
