"""Read what a pipeline returned: each field becomes the things that its values are, whatever class it is a field of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.engine.worker.outputs.checks import black
from octabox.engine.worker.outputs.items import Mesh, OutputItem
from octabox.engine.worker.outputs.numbers import (
    as_array,
    as_bytes,
    as_image,
    audios_of,
    damage,
    frames_of,
    images_of,
    is_image,
)
from octabox.engine.worker.outputs.rates import RATES, frame_rate, sampling_rate
from octabox.errors import GenerationError
from octabox.media.audio import Audio
from octabox.media.formats import chosen
from octabox.media.maps import coloured, normals
from octabox.media.video import Video
from octabox.types import Kind, OutputFormat

#: Fields that say which outputs a safety checker has taken away.
UNSAFE = re.compile(r"nsfw|unsafe")

#: Fields whose numbers only another model can read.
ENCODED = re.compile(r"embed|latent")

#: Axes of one audio.
CHANNELS_AND_SAMPLES = 2

#: Samples a second of an audio where nothing says.
SAMPLING_RATE = 44_100


class OutputParser:
    """Reads the outputs of one call.

    Args:
        pipe: The pipeline that was called.
        entry: What the catalog knows of it.
        params: The call's parameters.
        output: How artifacts are to be written.
    """

    def __init__(self, pipe: Any, entry: PipelineEntry, params: Mapping[str, Any], output: OutputFormat) -> None:
        self._pipe, self._entry = pipe, entry
        self._fps = frame_rate(output, params, entry)
        self._named: Mapping[str, Any] = {}
        self._raw = chosen("array", output) == (output.format or "").lower()
        self._unsafe = False
        self.warnings: list[str] = []

    def read(self, output: Any) -> list[OutputItem]:
        """Return all that an output holds, the chief things first.

        Raises:
            GenerationError: It holds nothing.
        """
        self._named = self._fields(output)
        found: list[OutputItem] = []
        numbers: dict[str, np.ndarray] = {}
        for name, value in self._named.items():
            for product in self._field(name, self._kind(name), value):
                if isinstance(product.value, Mapping) and not product.apart:
                    numbers.update(product.value)
                else:
                    found.append(product)
        if numbers:
            name = next(iter(numbers)) if len(numbers) == 1 else "arrays"
            found.append(OutputItem(name, "array", numbers))
        if not self._unsafe:
            self.warnings += black(found)
        found = _with_audio(found)
        if not found:
            raise GenerationError(f"{self._entry.name} returned {type(output).__name__} with nothing in it.")
        # The image of a map stands before its numbers, which are what such a pipeline is said to give.
        chief = "image" if self._entry.output_kind == "array" else self._entry.output_kind
        return sorted(found, key=lambda product: product.kind != chief)

    def _fields(self, output: Any) -> dict[str, Any]:
        """Return the fields of an output by name; a bare value goes by the name of the chief kind."""
        if isinstance(output, Mapping):
            return dict(output)
        if is_dataclass(output) and not isinstance(output, type):
            return {each.name: getattr(output, each.name) for each in fields(output)}
        names = [each.name for each in self._entry.outputs]
        if isinstance(output, tuple):
            return dict(zip([*names, *(f"output_{index}" for index in range(len(names), len(output)))], output))  # noqa: B905 (a tuple may be shorter)
        return {self._entry.output_kind or "output": output}

    def _kind(self, name: str) -> Kind | None:
        """Return what the catalog says that a field holds."""
        if self._raw:
            return "array"
        known: dict[str, Kind | None] = {each.name: each.kind for each in self._entry.outputs}
        chief = self._entry.output_kind
        kind = known.get(name, chief if name == chief else None)
        # Where the chief kind is no field's own, it is what the images of the output are.
        return chief if kind == "image" and chief is not None and chief not in known.values() else kind

    def _field(self, name: str, kind: Kind | None, value: Any) -> Iterator[OutputItem]:
        """Yield the things in one field."""
        value = _plain(value)
        if value is None or any(pattern.search(name) for pattern in RATES):
            return
        if isinstance(value, bool) or (isinstance(value, list) and value and _all(value, bool, type(None))):
            self._note(name, value)
        elif isinstance(value, str):
            yield OutputItem(name, "text", value)
        elif isinstance(value, Image.Image):
            yield OutputItem(name, "image", value)
        elif isinstance(value, torch.Tensor | np.ndarray):
            yield from self._numbers(name, kind, as_array(value))
        elif hasattr(value, "verts") and hasattr(value, "faces"):
            yield OutputItem(name, "mesh", _mesh(value))
        elif isinstance(value, list | tuple):
            yield from self._list(name, kind, value)
        elif isinstance(value, int | float):
            yield OutputItem(name, "array", {name: np.asarray(value)})
        else:
            self.warnings.append(f"'{name}' of the output is a {type(value).__name__}, which cannot be written.")

    def _list(self, name: str, kind: Kind | None, values: list[Any] | tuple[Any, ...]) -> Iterator[OutputItem]:
        """Yield the things of a list: images are the frames of a video where the field holds videos."""
        if kind == "video" and values and _all(values, Image.Image):
            yield OutputItem(name, "video", Video(tuple(values), self._fps))
        elif kind == "video" and values and _all(values, torch.Tensor, np.ndarray):
            arrays = [as_array(each) for each in values]
            whole = np.stack(arrays) if len({array.shape for array in arrays}) == 1 else None
            for array in [whole] if whole is not None else arrays:
                yield from self._numbers(name, kind, array)
        elif kind == "audio" and values and _all(values, torch.Tensor, np.ndarray):
            for array in map(as_array, values):
                # Two axes are the channels and samples of one audio here, since the list counts the audio.
                yield from self._numbers(name, kind, array[None] if array.ndim == CHANNELS_AND_SAMPLES else array)
        elif kind == "array" and values and _all(values, int, float):
            yield OutputItem(name, "array", {name: np.asarray(values)})
        elif kind == "array" and len(values) > 1 and _all(values, torch.Tensor, np.ndarray):
            yield OutputItem(name, "array", {f"{name}_{index}": as_array(each) for index, each in enumerate(values)})
        else:
            for value in values:
                yield from self._field(name, kind, value)

    def _numbers(self, name: str, kind: Kind | None, array: np.ndarray) -> Iterator[OutputItem]:
        """Yield what an array holds."""
        if problem := damage(array):
            self.warnings.append(f"'{name}' is damaged: {problem}. A larger `dtype` may help.")
        try:
            if kind == "image":
                yield from (OutputItem(name, "image", image) for image in images_of(array))
            elif kind == "video":
                for video in filter(len, frames_of(as_bytes(array))):
                    yield OutputItem(name, "video", Video(tuple(as_image(frame) for frame in video), self._fps))
            elif kind == "audio":
                yield from (OutputItem(name, "audio", self._audio(samples)) for samples in audios_of(array))
            elif self._entry.output_kind == "array" and not self._raw and is_image(array) and not ENCODED.search(name):
                yield from _maps(name, array)
            else:
                yield OutputItem(name, "array", {name: array})
        except ValueError as error:
            self.warnings.append(f"'{name}' is written as numbers: {error}.")
            yield OutputItem(name, "array", {name: array})

    def _audio(self, samples: np.ndarray) -> Audio:
        rate = sampling_rate(self._pipe, self._named)
        if rate is None:
            self.warnings.append(f"Nothing says how fast this audio plays; {SAMPLING_RATE} samples a second are taken.")
        finite = np.asarray(np.nan_to_num(samples, posinf=1.0, neginf=-1.0), np.float32)
        peak = float(np.abs(finite).max(initial=0))
        if peak > 1:
            self.warnings.append(f"The audio was too loud by {peak:.2f} and was made softer.")
            finite /= np.float32(peak)
        return Audio(finite, rate or SAMPLING_RATE)

    def _note(self, name: str, value: bool | list[Any]) -> None:
        """Say which outputs a checker has found something in."""
        if value is True or (isinstance(value, list) and any(value)):
            if UNSAFE.search(name):
                self._unsafe = True
                self.warnings.append("The model's safety checker judged the image unsafe and made it black.")
            else:
                self.warnings.append(f"{name.replace('_', ' ')}.".capitalize())


def _maps(name: str, array: np.ndarray) -> Iterator[OutputItem]:
    """Yield each map of a batch twice: as an image to look at, and as the numbers themselves."""
    batch = array if array.shape[-1] in (1, 3, 4) else np.moveaxis(array, 1, -1)
    for one in batch:
        yield OutputItem(name, "image", _shown(one))
        yield OutputItem(name, "array", {name: one}, apart=True)


def _shown(one: np.ndarray) -> Image.Image:
    """Return the image of a map: depth in colours, normals as usual, colours as they are."""
    if one.shape[-1] == 1:
        return coloured(one[..., 0])
    return normals(one) if float(np.nan_to_num(one).min()) < 0 else as_image(one)


def _plain(value: Any) -> Any:
    """Return numpy's and torch's single numbers, and their lists of yes and no, as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim <= 1 and value.dtype in (torch.bool, np.bool_):
        return value.tolist()
    return value


def _mesh(value: Any) -> Mesh:
    """Return the mesh of an object that has its corners and triangles, and may have colours by channel."""
    channels = getattr(value, "vertex_channels", None) or {}
    colours = None
    if {"R", "G", "B"} <= set(channels):
        colours = np.stack([as_array(channels[name]) for name in "RGB"], axis=-1)
    return Mesh(as_array(value.verts), as_array(value.faces), colours)


def _all(values: list[Any] | tuple[Any, ...], *kinds: type) -> bool:
    return all(isinstance(value, kinds) for value in values)


def _with_audio(products: list[OutputItem]) -> list[OutputItem]:
    """Give each video its audio, where there are as many of one as of the other."""
    audios = [product for product in products if product.kind == "audio"]
    videos = [product for product in products if product.kind == "video"]
    if not audios or len(audios) != len(videos):
        return products
    joined: list[OutputItem] = []
    for video, audio in zip(videos, audios, strict=True):
        assert isinstance(video.value, Video)  # noqa: S101 (of that kind)
        assert isinstance(audio.value, Audio)  # noqa: S101 (of that kind)
        joined.append(replace(video, value=replace(video.value, audio=audio.value)))
    return [*joined, *(product for product in products if product.kind not in ("audio", "video"))]
