"""Convert the parameters and media of a run to the arguments of a pipeline, by its annotations."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape, parse_annotation
from octabox.catalog.reading.docstrings import has_channels_first
from octabox.catalog.tasks import is_mask
from octabox.engine.protocol import Medium, Run
from octabox.engine.worker.inputs.joining import JoinedRun
from octabox.engine.worker.inputs.records import build_records
from octabox.engine.worker.outputs.rates import sampling_rate
from octabox.errors import InvalidParameterError
from octabox.media.audio import Audio, resample
from octabox.media.video import Video

#: The method of diffusers' `VideoProcessor` that preprocesses a video.
PREPROCESS_VIDEO = "preprocess_video"


def call_arguments(pipe: Any, entry: PipelineEntry, run: Run) -> dict[str, Any]:
    """Return the arguments of a call: its parameters, its converted media, and its generator.

    Raises:
        InvalidParameterError: A medium cannot be converted.
    """
    arguments: dict[str, Any] = {name: copy_containers(value) for name, value in run.params.items()}
    for name, media in run.inputs.items():
        parameter = entry.parameter(name)
        assert parameter is not None  # noqa: S101 (the service has validated the names)
        arguments[name] = _convert_media(pipe, parameter, _fit_masks(parameter, media, run.inputs))
        arguments |= _sampling_rate_argument(entry, arguments, media, pipe)
    if any(parameter.record for parameter in entry.parameters):
        arguments = build_records(entry, arguments)
    generator = next((parameter.name for parameter in entry.parameters if parameter.kind == "generator"), None)
    if generator is not None:
        seeds = run.seeds if isinstance(run, JoinedRun) else (run.seed,)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        arguments[generator] = generators if isinstance(run, JoinedRun) else generators[0]
    return _seed_argument(entry, run) | arguments


def _seed_argument(entry: PipelineEntry, run: Run) -> dict[str, Any]:
    """Return the argument for a pipeline's own parameter of the seed, whose default would give each seed the same output.

    It is None if that makes the pipeline use its generator, whose samples are equal on all devices.
    """
    parameter = entry.parameter("seed")
    if parameter is None or parameter.kind != "integer":
        return {}
    has_generator = any(each.kind == "generator" for each in entry.parameters)
    is_optional = parse_annotation(parameter.annotation).none
    return {parameter.name: None if has_generator and is_optional else run.seed}


def _fit_masks(
    parameter: Parameter, media: Sequence[Medium], inputs: Mapping[str, Sequence[Medium]]
) -> Sequence[Medium]:
    """Return the media of a parameter: masks in L, and a single mask for each frame of its video."""
    if not is_mask(parameter):
        return media
    others = [each for name, found in inputs.items() if name != parameter.name for each in found]
    length = max((len(each.frames) for each in others if isinstance(each, Video)), default=1)
    return [_fit_mask(each, length) if isinstance(each, Video) else each for each in media]


def _fit_mask(video: Video, length: int) -> Video:
    frames = tuple(frame.convert("L") for frame in video.frames)
    return replace(video, frames=frames * length if len(frames) == 1 else frames)


def _convert_media(pipe: Any, parameter: Parameter, media: Sequence[Medium]) -> Any:
    """Return the media of a parameter as its annotation requires; one medium as a list if that is required.

    It is also one where the name is in the plural and the annotation allows lists: some pipelines iterate without a look.
    """
    shape = parse_annotation(parameter.annotation)
    converted = [_convert(pipe, parameter, shape, medium) for medium in media]
    # A video is already a list, and parameters for several videos also take one.
    is_plural = not shape.atoms or parameter.name.endswith("s")
    takes_list = parameter.kind != "video" and shape.items is not None and is_plural
    return converted if len(converted) > 1 or (takes_list and not isinstance(converted[0], list)) else converted[0]


def _convert(pipe: Any, parameter: Parameter, shape: Shape, medium: Medium) -> Any:
    """Return one medium, or a list of them, as a pipeline takes it."""
    if isinstance(medium, list):
        return [None if each is None else _convert(pipe, parameter, shape, each) for each in medium]
    if isinstance(medium, Video):
        return _convert_video(pipe, shape, medium)
    if isinstance(medium, Audio):
        return _convert_audio(pipe, parameter, shape, medium)
    if isinstance(medium, np.ndarray):
        return _convert_array(pipe, parameter, shape, medium)
    return medium


def _convert_video(pipe: Any, shape: Shape, video: Video) -> Any:
    """Return a video as a list of its frames, which the processors of diffusers take; masks have one channel.

    If the annotation allows only a tensor, its values are in [0, 1], and its shape is (1, frames, channels, height, width) if
    the pipeline uses diffusers' `VideoProcessor`, which takes that, else (1, channels, frames, height, width).
    """
    takes_tensor = bool(shape.leaves) and shape.leaves <= {"array"} and shape.items is None
    if not takes_tensor:
        return list(video.frames)
    stacked = np.stack([np.atleast_3d(np.asarray(frame, np.float32) / 255) for frame in video.frames])
    axes = (0, 3, 1, 2) if _uses_video_processor(pipe) else (3, 0, 1, 2)
    return _to_tensor(pipe, stacked.transpose(axes))[None]


def _uses_video_processor(pipe: Any) -> bool:
    """Return whether a pipeline has a `VideoProcessor` as a component, or uses one in a method."""
    if any(hasattr(part, PREPROCESS_VIDEO) for part in getattr(pipe, "components", {}).values()):
        return True
    methods = (inspect.unwrap(each) for cls in type(pipe).__mro__ for each in vars(cls).values() if callable(each))
    return any(PREPROCESS_VIDEO in each.__code__.co_names for each in methods if hasattr(each, "__code__"))


def _convert_audio(pipe: Any, parameter: Parameter, shape: Shape, audio: Audio) -> Any:
    """Return audio at the pipeline's sampling rate: a tensor of shape (1, channels, length), or an array (length).

    If the documentation of the parameter states that its axes are channels and samples, the tensor has these.
    """
    rate = sampling_rate(pipe, {})
    samples = (resample(audio, rate) if rate else audio).samples
    if "ndarray" in parameter.annotation:
        return samples.mean(axis=0)
    channels = _audio_channels(pipe)
    if channels and len(samples) != channels:
        samples = np.repeat(samples.mean(axis=0, keepdims=True), channels, axis=0)
    batch = _to_tensor(pipe, samples)[None]
    is_single = (shape.items is not None and not shape.atoms) or has_channels_first(parameter.description)
    return batch[0] if is_single else batch


def _audio_channels(pipe: Any) -> int | None:
    """Return the number of audio channels that a pipeline's autoencoder takes; None if it is not known."""
    settings = getattr(getattr(pipe, "vae", None), "config", None) or {}
    found = next((settings[name] for name in ("audio_channels", "in_channels") if name in settings), None)
    return found if isinstance(found, int) else None


def _sampling_rate_argument(
    entry: PipelineEntry, arguments: Mapping[str, Any], media: Sequence[Medium], pipe: Any
) -> dict[str, Any]:
    """Return the argument for the sampling rate of audio, if the pipeline takes one and the request does not set it."""
    audio = media[0]
    name = next((each.name for each in entry.parameters if each.name.endswith("sampling_rate")), None)
    if not isinstance(audio, Audio) or name is None or arguments.get(name) is not None:
        return {}
    return {name: sampling_rate(pipe, {}) or audio.rate}


def _convert_array(pipe: Any, parameter: Parameter, shape: Shape, array: np.ndarray) -> Any:
    """Return an array as a pipeline takes it: an array, a tensor, or a list of tensors."""
    if "array" in shape.leaves and "Tensor" not in parameter.annotation and parameter.kind != "image":
        return array
    try:
        tensor = _to_tensor(pipe, array)
    except TypeError as error:
        raise InvalidParameterError(
            f"'{parameter.name}' has the dtype {array.dtype}, which torch does not support.",
            hint="Send float32, int64 or bool.",
            parameter=parameter.name,
        ) from error
    return list(tensor) if shape.items is not None and not shape.atoms else tensor


def _to_tensor(pipe: Any, array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor on the device of a pipeline, and in its dtype if the array is floating-point.

    Raises:
        TypeError: Torch does not support the dtype.
    """
    tensor = torch.from_numpy(np.asarray(array, order="C"))
    dtype = getattr(pipe, "dtype", torch.float32) if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=getattr(pipe, "_execution_device", "cpu"), dtype=dtype)


def describe_media(inputs: Mapping[str, Sequence[Medium]]) -> str:
    """Return the names and sizes of media, for error messages."""
    return ", ".join(f"{name} {_describe_size(medium)}" for name, media in inputs.items() for medium in media)


def count_media(media: Sequence[Medium]) -> int:
    """Return the number of media of a parameter, those in lists included."""
    return sum(count_media(each) if isinstance(each, list) else 1 for each in media)


def _describe_size(medium: Medium) -> str:
    if isinstance(medium, Image):
        return f"{medium.width}x{medium.height}"
    if isinstance(medium, Video):
        return f"{len(medium.frames)} frames of {medium.frames[0].width}x{medium.frames[0].height}"
    if isinstance(medium, list):
        return f"a list of {len(medium)}"
    array = medium.samples if isinstance(medium, Audio) else medium
    return f"{list(array.shape)}"


def copy_containers(value: Any) -> Any:
    """Return a value with its lists and mappings copied, since some pipelines write into them."""
    if isinstance(value, list):
        return [copy_containers(each) for each in value]
    if isinstance(value, dict):
        return {name: copy_containers(each) for name, each in value.items()}
    return copy.copy(value) if isinstance(value, set) else value
