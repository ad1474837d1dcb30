"""Parse the output of a pipeline by the types of its values, whatever its class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.reading.docstrings import documented_axes, has_channels_first
from octabox.engine.worker.outputs.checks import black_image_warnings
from octabox.engine.worker.outputs.items import Mesh, OutputItem
from octabox.engine.worker.outputs.numbers import (
    describe_nonfinite,
    is_image_batch,
    is_linear_light,
    split_audios,
    split_videos,
    to_numpy,
    to_pil,
    to_pil_images,
    to_uint8,
)
from octabox.engine.worker.outputs.rates import RATES, frame_rate, sampling_rate
from octabox.errors import GenerationError
from octabox.media.audio import Audio
from octabox.media.formats import select_format
from octabox.media.maps import colorize_map, colorize_normals
from octabox.media.video import Video
from octabox.types import Kind, OutputFormat

#: Fields for the results of a safety checker.
UNSAFE = re.compile(r"nsfw|unsafe")

#: Fields for arrays that are inputs of other models, not images.
ENCODED = re.compile(r"embed|latent")

#: Number of axes of audio.
CHANNELS_AND_SAMPLES = 2

#: Upper bound for the channels of audio; an array with more rows is a batch.
MAX_CHANNELS = 8

#: Default sampling rate.
SAMPLING_RATE = 44_100


class OutputParser:
    """Parses the output of one run.

    Args:
        pipe: The pipeline that was called.
        entry: Its catalog entry.
        params: The parameters of the run.
        output: The requested format.
        inputs: The media of the run.
    """

    def __init__(
        self,
        pipe: Any,
        entry: PipelineEntry,
        params: Mapping[str, Any],
        output: OutputFormat,
        inputs: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    ) -> None:
        self._pipe, self._entry = pipe, entry
        self._params, self._format, self._inputs = params, output, inputs
        self._fields: Mapping[str, Any] = {}
        self._is_raw = bool(output.format) and select_format("array", output) == (output.format or "").lower()
        self._is_unsafe = False
        self._videos = 0
        self.warnings: list[str] = []

    def parse(self, output: Any) -> list[OutputItem]:
        """Return the items of an output, those of the primary kind first.

        Raises:
            GenerationError: The output is empty.
        """
        self._fields = split_fields(output, self._entry)
        found: list[OutputItem] = []
        arrays: dict[str, np.ndarray] = {}
        for name, value in self._fields.items():
            for item in self._parse_field(name, self._kind(name), value):
                if isinstance(item.value, Mapping) and not item.is_separate:
                    arrays.update(item.value)
                else:
                    found.append(item)
        if arrays:
            name = next(iter(arrays)) if len(arrays) == 1 else "arrays"
            found.append(OutputItem(name, "array", arrays))
        if not self._is_unsafe:
            self.warnings += black_image_warnings(found)
        found = _join_audio(found)
        if not found:
            raise GenerationError(f"{self._entry.name} returned an empty {type(output).__name__}.")
        # Images of maps come before the arrays that are the primary output of such a pipeline.
        primary = "image" if self._entry.output_kind == "array" else self._entry.output_kind
        return sorted(found, key=lambda item: item.kind != primary)

    def _kind(self, name: str) -> Kind | None:
        """Return the media kind of a field, by the catalog."""
        if self._is_raw:
            return "array"
        known: dict[str, Kind | None] = {each.name: each.kind for each in self._entry.outputs}
        primary = self._entry.output_kind
        kind = known.get(name, primary if name == primary else None)
        # If no field has the primary kind, the images of the output have it.
        return primary if kind == "image" and primary is not None and primary not in known.values() else kind

    def _parse_field(self, name: str, kind: Kind | None, value: Any) -> Iterator[OutputItem]:
        """Yield the items of one field."""
        value = _to_python(value)
        if value is None or any(pattern.search(name) for pattern in RATES):
            return
        if isinstance(value, bool) or (isinstance(value, list) and value and _all(value, bool, type(None))):
            self._report_check(name, value)
        elif isinstance(value, str):
            yield OutputItem(name, "text", value)
        elif isinstance(value, Image.Image):
            yield OutputItem(name, "image", value)
        elif isinstance(value, torch.Tensor | np.ndarray):
            yield from self._parse_array(name, kind, to_numpy(value))
        elif hasattr(value, "verts") and hasattr(value, "faces"):
            yield OutputItem(name, "mesh", _mesh(value))
        elif isinstance(value, list | tuple):
            yield from self._parse_list(name, kind, value)
        elif isinstance(value, int | float):
            yield OutputItem(name, "array", {name: np.asarray(value)})
        else:
            self.warnings.append(f"'{name}' of the output is a {type(value).__name__}, which cannot be encoded.")

    def _parse_list(self, name: str, kind: Kind | None, values: list[Any] | tuple[Any, ...]) -> Iterator[OutputItem]:
        """Yield the items of a list; in a field of videos, images are the frames of one."""
        if kind == "video" and values and _all(values, Image.Image):
            yield OutputItem(name, "video", self._video(values))
        elif kind == "video" and values and _all(values, torch.Tensor, np.ndarray):
            arrays = [to_numpy(each) for each in values]
            is_batch = len({array.shape for array in arrays}) == 1
            for array in [np.stack(arrays)] if is_batch else arrays:
                yield from self._parse_array(name, kind, array)
        elif kind == "audio" and values and _all(values, torch.Tensor, np.ndarray):
            for array in map(to_numpy, values):
                # Two axes are channels and samples here, since the items of the list are the audios.
                yield from self._parse_array(name, kind, array[None] if array.ndim == CHANNELS_AND_SAMPLES else array)
        elif kind == "array" and values and _all(values, int, float):
            yield OutputItem(name, "array", {name: np.asarray(values)})
        elif kind == "array" and len(values) > 1 and _all(values, torch.Tensor, np.ndarray):
            yield OutputItem(name, "array", {f"{name}_{index}": to_numpy(each) for index, each in enumerate(values)})
        else:
            for value in values:
                yield from self._parse_field(name, kind, value)

    def _parse_array(self, name: str, kind: Kind | None, array: np.ndarray) -> Iterator[OutputItem]:
        """Yield the items of an array."""
        self.warnings += _number_warnings(name, kind, array)
        try:
            if kind == "image":
                yield from (OutputItem(name, "image", image) for image in to_pil_images(array))
            elif kind == "video":
                for video in filter(len, split_videos(to_uint8(array))):
                    yield OutputItem(name, "video", self._video(map(to_pil, video)))
            elif kind == "audio":
                audios = array[None] if _is_one_audio(self._entry, name, array, self._videos) else array
                rate = sampling_rate(self._pipe, self._fields)
                for samples in split_audios(audios):
                    yield OutputItem(name, "audio", _to_audio(samples, rate, self.warnings))
            elif (
                self._entry.output_kind == "array"
                and not self._is_raw
                and is_image_batch(array)
                and not ENCODED.search(name)
            ):
                yield from _parse_maps(name, array)
            else:
                yield OutputItem(name, "array", {name: array})
        except ValueError as error:
            self.warnings.append(f"'{name}' is returned as an array: {error}.")
            yield OutputItem(name, "array", {name: array})

    def _video(self, images: Iterable[Image.Image]) -> Video:
        self._videos += 1
        frames = tuple(images)
        return Video(frames, frame_rate(self._format, self._params, self._entry, self._inputs, len(frames)))

    def _report_check(self, name: str, value: bool | list[Any]) -> None:
        """Add a warning if a checker has flagged an output."""
        if value is True or (isinstance(value, list) and any(value)):
            if UNSAFE.search(name):
                self._is_unsafe = True
                self.warnings.append(
                    "The model's safety checker flagged the image as unsafe and replaced it by a black one."
                )
            else:
                self.warnings.append(f"{name.replace('_', ' ')}.".capitalize())


def _number_warnings(name: str, kind: Kind | None, array: np.ndarray) -> Iterator[str]:
    """Yield a warning if numbers of a field are not finite, and if they are linear light."""
    if problem := describe_nonfinite(array):
        yield f"'{name}' is damaged: {problem}. A larger `dtype` may help."
    if kind in ("image", "video") and is_linear_light(array):
        yield (
            f"'{name}' has linear light up to {np.nanmax(array):.2f} (HDR); values above 1 were clipped to white. "
            "Request the format npy for all values."
        )


def _is_one_audio(entry: PipelineEntry, name: str, array: np.ndarray, videos: int) -> bool:
    """Return whether an array is one audio of channels and samples, by its documentation or the number of videos."""
    if array.ndim != CHANNELS_AND_SAMPLES or not 1 < len(array) <= MAX_CHANNELS:
        return False
    text = next((each.description for each in entry.outputs if each.name == name), "")
    return has_channels_first(text) or (not documented_axes(text) and 0 < videos != len(array))


def _to_audio(samples: np.ndarray, rate: int | None, messages: list[str]) -> Audio:
    """Return the audio of samples at most 1; add a message if they were louder, or if the rate is not known."""
    if rate is None:
        messages.append(f"The sampling rate of this audio is not known; {SAMPLING_RATE} Hz is used.")
    finite = np.asarray(np.nan_to_num(samples, posinf=1.0, neginf=-1.0), np.float32)
    if (peak := float(np.abs(finite).max(initial=0))) > 1:
        messages.append(f"The audio had a peak of {peak:.2f} and was normalized to 1.")
        finite /= np.float32(peak)
    return Audio(finite, rate or SAMPLING_RATE)


def split_fields(output: Any, entry: PipelineEntry) -> dict[str, Any]:
    """Return the fields of an output by name; a bare value has the name of the primary kind."""
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {each.name: getattr(output, each.name) for each in fields(output)}
    names = [each.name for each in entry.outputs]
    if isinstance(output, tuple):
        return dict(zip([*names, *(f"output_{index}" for index in range(len(names), len(output)))], output))  # noqa: B905 (a tuple may be shorter)
    return {entry.output_kind or "output": output}


def _parse_maps(name: str, array: np.ndarray) -> Iterator[OutputItem]:
    """Yield each map of a batch, such as depth, both as an image and as an array."""
    batch = array if array.shape[-1] in (1, 3, 4) else np.moveaxis(array, 1, -1)
    for one in batch:
        yield OutputItem(name, "image", _render_map(one))
        yield OutputItem(name, "array", {name: one}, is_separate=True)


def _render_map(one: np.ndarray) -> Image.Image:
    """Return the image of a map: depth by a colour map, normals and colours as RGB."""
    if one.shape[-1] == 1:
        return colorize_map(one[..., 0])
    return colorize_normals(one) if float(np.nan_to_num(one).min()) < 0 else to_pil(one)


def _to_python(value: Any) -> Any:
    """Return scalars and boolean arrays of numpy and torch as Python values."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim <= 1 and value.dtype in (torch.bool, np.bool_):
        return value.tolist()
    return value


def _mesh(value: Any) -> Mesh:
    """Return the mesh of an object with vertices and faces, and optionally colours by channel."""
    channels = getattr(value, "vertex_channels", None) or {}
    colours = None
    if {"R", "G", "B"} <= set(channels):
        colours = np.stack([to_numpy(channels[name]) for name in "RGB"], axis=-1)
    return Mesh(to_numpy(value.verts), to_numpy(value.faces), colours)


def _all(values: list[Any] | tuple[Any, ...], *kinds: type) -> bool:
    return all(isinstance(value, kinds) for value in values)


def _join_audio(items: list[OutputItem]) -> list[OutputItem]:
    """Return the items with each audio added to its video, if there are as many audios as videos."""
    audios = [item for item in items if item.kind == "audio"]
    videos = [item for item in items if item.kind == "video"]
    if not audios or len(audios) != len(videos):
        return items
    joined: list[OutputItem] = []
    for video, audio in zip(videos, audios, strict=True):
        assert isinstance(video.value, Video)  # noqa: S101 (of that kind)
        assert isinstance(audio.value, Audio)  # noqa: S101 (of that kind)
        joined.append(replace(video, value=replace(video.value, audio=audio.value)))
    return [*joined, *(item for item in items if item.kind not in ("audio", "video"))]
