"""Bring what a request gives into the form that a pipeline's call takes, as its annotations say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape, parse
from octabox.engine.protocol import Medium, Run
from octabox.engine.worker.outputs.rates import sampling_rate
from octabox.errors import InvalidParameterError
from octabox.media.audio import Audio, resampled
from octabox.media.video import Video

#: The method of diffusers' processor for videos that brings them into the form a model takes.
VIDEO_PROCESSING = "preprocess_video"


def call_arguments(pipe: Any, entry: PipelineEntry, run: Run) -> dict[str, Any]:
    """Return the arguments of a call: its parameters, its media in the form that each is taken in, and its generator.

    Raises:
        InvalidParameterError: A medium cannot be brought into that form.
    """
    arguments: dict[str, Any] = dict(run.params)
    for name, media in run.inputs.items():
        parameter = entry.parameter(name)
        assert parameter is not None  # noqa: S101 (the service has checked the names)
        arguments[name] = _argument(pipe, parameter, media)
        arguments |= _rates(entry, arguments, media, pipe)
    if any(parameter.kind == "generator" for parameter in entry.parameters):
        name = next(parameter.name for parameter in entry.parameters if parameter.kind == "generator")
        arguments[name] = torch.Generator("cpu").manual_seed(run.seed)
    return arguments


def _argument(pipe: Any, parameter: Parameter, media: Sequence[Medium]) -> Any:
    """Return a parameter's media as its annotation wants them; one stands alone where that is allowed."""
    shape = _shape(parameter)
    made = [_value(pipe, parameter, shape, medium) for medium in media]
    # A video is a list already, and one is taken as it is wherever several are.
    wants_list = parameter.kind != "video" and shape.items is not None and not shape.atoms
    return made if len(made) > 1 or (wants_list and not isinstance(made[0], list)) else made[0]


def _shape(parameter: Parameter) -> Shape:
    return parse(parameter.annotation)


def _value(pipe: Any, parameter: Parameter, shape: Shape, medium: Medium) -> Any:
    """Return one medium, or a list of them, as a pipeline takes it."""
    if isinstance(medium, list):
        return [None if each is None else _value(pipe, parameter, shape, each) for each in medium]
    if isinstance(medium, Video):
        return _frames(pipe, shape, medium)
    if isinstance(medium, Audio):
        return _samples(pipe, parameter, shape, medium)
    if isinstance(medium, np.ndarray):
        return _numbers(pipe, parameter, shape, medium)
    return medium


def _frames(pipe: Any, shape: Shape, video: Video) -> Any:
    """Return a video as a list of its frames, which diffusers' own processors take.

    A pipeline that is typed for tensors alone gets one in [0, 1]: of shape (1, frames, channels, height, width) where it uses
    diffusers' processor for videos, which takes that, else of shape (1, channels, frames, height, width).
    """
    is_for_tensors = bool(shape.leaves) and shape.leaves <= {"array"} and shape.items is None
    if not is_for_tensors:
        return list(video.frames)
    stacked = np.stack([np.asarray(frame, np.float32) / 255 for frame in video.frames])
    axes = (0, 3, 1, 2) if _processes_videos(pipe) else (3, 0, 1, 2)
    return _tensor(pipe, stacked.transpose(axes))[None]


def _processes_videos(pipe: Any) -> bool:
    """Return whether diffusers' processor for videos is a component of a pipeline, or a method of its class uses one."""
    if any(hasattr(part, VIDEO_PROCESSING) for part in getattr(pipe, "components", {}).values()):
        return True
    methods = (inspect.unwrap(each) for kind in type(pipe).__mro__ for each in vars(kind).values() if callable(each))
    return any(VIDEO_PROCESSING in each.__code__.co_names for each in methods if hasattr(each, "__code__"))


def _samples(pipe: Any, parameter: Parameter, shape: Shape, audio: Audio) -> Any:
    """Return an audio at the pipeline's own rate: a tensor of shape (1, channels, length), or an array of (length)."""
    rate = sampling_rate(pipe, {})
    own = resampled(audio, rate) if rate else audio
    if "ndarray" in parameter.annotation:
        return own.samples.mean(axis=0)
    channels = _channels(pipe)
    samples = own.samples
    if channels and len(samples) != channels:
        samples = np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)
    batch = _tensor(pipe, samples)[None]
    return batch[0] if shape.items is not None and not shape.atoms else batch


def _channels(pipe: Any) -> int | None:
    """Return how many channels of audio a pipeline's own autoencoder takes; None where it does not say."""
    settings = getattr(getattr(pipe, "vae", None), "config", None) or {}
    found = next((settings[name] for name in ("audio_channels", "in_channels") if name in settings), None)
    return found if isinstance(found, int) else None


def _rates(entry: PipelineEntry, given: Mapping[str, Any], media: Sequence[Medium], pipe: Any) -> dict[str, Any]:
    """Return the parameter that tells an audio's rate, where the call has one and the request left it out."""
    audio = media[0]
    companion = next((each.name for each in entry.parameters if each.name.endswith("sampling_rate")), None)
    if not isinstance(audio, Audio) or companion is None or given.get(companion) is not None:
        return {}
    return {companion: sampling_rate(pipe, {}) or audio.rate}


def _numbers(pipe: Any, parameter: Parameter, shape: Shape, array: np.ndarray) -> Any:
    """Return an array as a pipeline takes it: an array, a tensor, or a list of tensors."""
    if "array" in shape.leaves and "Tensor" not in parameter.annotation and parameter.kind != "image":
        return array
    try:
        tensor = _tensor(pipe, array)
    except TypeError as error:
        raise InvalidParameterError(
            f"'{parameter.name}' has numbers of the type {array.dtype}, which torch does not know.",
            hint="Send float32, int64 or bool.",
            parameter=parameter.name,
        ) from error
    return list(tensor) if shape.items is not None and not shape.atoms else tensor


def _tensor(pipe: Any, array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor on the device that a pipeline runs on, in its dtype where the numbers are floating.

    Raises:
        TypeError: Torch has no such dtype.
    """
    tensor = torch.from_numpy(np.asarray(array, order="C"))
    dtype = getattr(pipe, "dtype", torch.float32) if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=getattr(pipe, "_execution_device", "cpu"), dtype=dtype)


def shapes(inputs: Mapping[str, Sequence[Medium]]) -> str:
    """Return the sizes of a call's media in words, for an error about one of them."""
    return ", ".join(f"{name} {_size(medium)}" for name, media in inputs.items() for medium in media)


def _size(medium: Medium) -> str:
    if isinstance(medium, Image):
        return f"{medium.width}x{medium.height}"
    if isinstance(medium, Video):
        return f"{len(medium.frames)} frames of {medium.frames[0].width}x{medium.frames[0].height}"
    if isinstance(medium, list):
        return f"a list of {len(medium)}"
    array = medium.samples if isinstance(medium, Audio) else medium
    return f"{list(array.shape)}"
