"""Check the requested sizes against the multiples of the loaded pipeline, before anything is computed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image, Resampling

from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.catalog.reading.effects.evaluation import PipelineValues, UnknownValueError
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.steps import find_denoisers
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError
from octabox.media.video import Video

#: Parameters by which a pipeline works on a part of an image.
CROP = re.compile(r"(^|_)crop(_|$)")

#: Parameters for the number of outputs of a prompt.
OUTPUTS = re.compile(r"num_\w+_per_prompt")

#: Largest multiple that a model requires of its sizes.
MAX_MULTIPLE = 64


def check_sizes(pipe: Any, entry: PipelineEntry, params: Mapping[str, Any]) -> None:
    """Check that sizes are multiples of what a pipeline requires; rules of which it only warns do not refuse a size.

    Raises:
        InvalidParameterError: A size is not such a multiple.
        InvalidRequestError: Several are not.
    """
    problems: list[RequestError] = []
    for rule in entry.sizes:
        multiple = None if rule.rounded else rule.multiple or evaluate_expression(rule.expression, pipe)
        for name in rule.parameters:
            value = params.get(name)
            if multiple and isinstance(value, int) and (value - rule.offset) % multiple:
                problems.append(_size_error(entry, rule, name, value, multiple))
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]


def _size_error(entry: PipelineEntry, rule: SizeRule, name: str, value: int, multiple: int) -> InvalidParameterError:
    below = (value - rule.offset) // multiple * multiple + rule.offset
    nearest = [size for size in (below, below + multiple) if size > 0]
    offset = f", plus {rule.offset}" if rule.offset else ""
    return InvalidParameterError(
        f"'{name}' must be a multiple of {multiple}{offset} for {entry.name}, not {value}.",
        hint=f"The nearest are {' and '.join(map(str, nearest))}.",
        parameter=name,
        choices=map(str, nearest),
    )


def evaluate_expression(expression: str, pipe: Any) -> int | None:
    """Return the value of an expression over a pipeline's attributes; None if it has none."""
    try:
        value = PipelineValues(pipe).value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, AttributeError, TypeError, ValueError, ZeroDivisionError, LookupError, UnknownValueError):
        return None
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def complete_size(
    pipe: Any, entry: PipelineEntry, params: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the parameters with both sides of a size where one is set: pipelines replace both by their default otherwise.

    The other side keeps the shape of the input image; without one it is that of the model's default size.
    """
    sides = [name for name in ("width", "height") if params.get(name) is not None]
    if len(sides) != 1 or any(_has_default(entry, name) for name in ("width", "height")):
        return params
    known = sides[0]
    other = "height" if known == "width" else "width"
    image, default = _input_size(inputs), default_size(pipe)
    if image is not None:
        width, height = image
        exact = params[known] * (height / width if known == "width" else width / height)
        return {**params, other: _nearest_multiple(pipe, entry, other, exact)}
    return params if default is None else {**params, other: default[other == "height"]}


def size_of_image(
    pipe: Any, entry: PipelineEntry, params: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, int]:
    """Return the size of the input image as parameters, for pipelines that change it and else resize it to their default.

    Sides are rounded down to what the pipeline requires. A call that sets a side, or works on a crop, has its own size.
    """
    sides, image = ("width", "height"), _input_size(inputs)
    has_size = any(value is not None for name, value in params.items() if name in sides or CROP.search(name))
    if image is None or has_size or not _starts_from_image(entry):
        return {}
    if any(_has_default(entry, name) for name in sides) or not any(
        set(sides) & {*each.parameters} for each in entry.sizes
    ):
        return {}
    return {name: _multiple_below(pipe, entry, name, side) for name, side in zip(sides, image, strict=True)}


def call_pixels(pipe: Any, entry: PipelineEntry, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> int:
    """Return the pixels that a call generates, times its frames and outputs: what its memory depends on."""
    params = complete_size(pipe, entry, params, inputs)
    sides = params.get("width"), params.get("height")
    width, height = sides if None not in sides else _input_size(inputs) or default_size(pipe) or (1, 1)
    frames = params.get(entry.frames.name, entry.frames.default) if entry.frames else 1
    counts = [value for name, value in params.items() if OUTPUTS.fullmatch(name)]
    prompts = [len(value) for name, value in params.items() if name == "prompt" and isinstance(value, list)]
    total = int(width or 1) * int(height or 1)
    for count in (frames, *counts, *prompts):
        total *= count if isinstance(count, int) and count > 0 else 1
    return total


def _multiple_below(pipe: Any, entry: PipelineEntry, name: str, side: int) -> int:
    multiple = size_multiple(pipe, entry, name)
    return max(side // multiple, 1) * multiple


def _has_default(entry: PipelineEntry, name: str) -> bool:
    """Return whether a pipeline has no such parameter, or another default than None, which is used for one missing side."""
    parameter = entry.parameter(name)
    return parameter is None or parameter.default is not None


def _nearest_multiple(pipe: Any, entry: PipelineEntry, name: str, exact: float) -> int:
    multiple = size_multiple(pipe, entry, name)
    return max(round(exact / multiple), 1) * multiple


def size_multiple(pipe: Any, entry: PipelineEntry, name: str) -> int:
    """Return the number of which a side must be a multiple; 1 if any is taken."""
    rule = next((rule for rule in entry.sizes if name in rule.parameters), None)
    return (rule and (rule.multiple or evaluate_expression(rule.expression, pipe))) or 1


def _image_multiples(pipe: Any, entry: PipelineEntry) -> set[int]:
    """Return the numbers to multiples of which a pipeline rounds images: by its rules, and those of its image processors."""
    multiples = {size_multiple(pipe, entry, name) for name in ("width", "height")}
    for each in vars(pipe).values():
        if isinstance(each, VaeImageProcessor) and isinstance(factor := each.config.vae_scale_factor, int):
            multiples.add(factor)
    return {each for each in multiples if each > 0}


def size_warnings(params: Mapping[str, Any], items: Sequence[OutputItem], pipe: Any, entry: PipelineEntry) -> list[str]:
    """Return warnings of outputs that have another size than requested, than the input image or, by binning, than the default.

    Args:
        params: Call parameters and input media.
        items: Outputs of the pipeline.
        pipe: The pipeline.
        entry: Its entry in the catalog.
    """
    actual = next((size for item in items if (size := _size(item)) is not None), None)
    return [] if actual is None else list(_differing_size(params, actual, pipe, entry))


def restore_size(
    params: Mapping[str, Any], items: Sequence[OutputItem], pipe: Any, entry: PipelineEntry
) -> tuple[list[OutputItem], list[str]]:
    """Return the outputs with images resized to the input image, if a pipeline has only rounded its size, and a warning then.

    Args:
        params: Parameters of the request and input media.
        items: Outputs of the pipeline.
        pipe: The pipeline.
        entry: Its entry in the catalog.
    """
    image = _input_size(params)
    if image is None or any(params.get(name) is not None for name in ("width", "height")):
        return list(items), []
    rounded = {tuple(side // each * each for side in image) for each in _image_multiples(pipe, entry)} - {image}
    made = next(
        (item.value.size for item in items if isinstance(item.value, Image) and item.value.size in rounded), None
    )
    if made is None:
        return list(items), []
    restored = [
        replace(item, value=item.value.resize(image, Resampling.LANCZOS))
        if isinstance(item.value, Image) and item.value.size == made
        else item
        for item in items
    ]
    size, target = (f"{width}x{height}" for width, height in (made, image))
    return restored, [f"The image is {target}, and the pipeline made {size}, which was resized to {target}."]


def frame_warnings(params: Mapping[str, Any], items: Sequence[OutputItem], entry: PipelineEntry) -> list[str]:
    """Return a warning if a video has another number of frames than requested or, without a request, than the changed video."""
    frames = next((len(item.value.frames) for item in items if isinstance(item.value, Video)), None)
    requested = params.get(entry.frames.name) if entry.frames else None
    if frames is None or requested == frames:
        return []
    if isinstance(requested, int):
        return [f"{requested} frames were requested, and the pipeline made {frames}."]
    videos = [
        each for value in params.values() if isinstance(value, tuple) for each in value if isinstance(each, Video)
    ]
    if len(videos) != 1 or len(videos[0].frames) in (1, frames) or not _starts_from_image(entry):
        return []
    return [f"The video has {len(videos[0].frames)} frames, and the pipeline made {frames}."]


def _differing_size(
    params: Mapping[str, Any], actual: tuple[int, int], pipe: Any, entry: PipelineEntry
) -> Iterator[str]:
    """Yield a warning if a size differs from what was requested or, without a request, from what is expected."""
    made = f"and the pipeline made {actual[0]}x{actual[1]}."
    requested = params.get("width"), params.get("height")
    image, default = _input_size(params), default_size(pipe)
    if None not in requested:
        if requested != actual:
            yield f"{requested[0]}x{requested[1]} was requested, {made}"
    elif requested != (None, None):
        for name, value, side in zip(("width", "height"), requested, actual, strict=True):
            if value not in (None, side):
                yield f"'{name}' {value} was requested, {made}"
    elif entry.binning and default is not None:
        if default != actual:
            yield f"{default[0]}x{default[1]} is the model's default size, {made}"
    elif image is not None and image != actual and (_is_rounded(image, actual) or _starts_from_image(entry)):
        yield f"The image is {image[0]}x{image[1]}, {made}"


def _is_rounded(image: tuple[int, int], actual: tuple[int, int]) -> bool:
    """Return whether a size is that of an image but for a multiple of a model, which is at most 64; an upscaled one is not."""
    return all(abs(side - other) < min(MAX_MULTIPLE, side) for side, other in zip(image, actual, strict=True))


def _starts_from_image(entry: PipelineEntry) -> bool:
    """Return whether a pipeline changes its image: it adds noise by a strength, or keeps what a mask does not cover."""
    return any(entry.parameter(name) for name in ("strength", "mask_image"))


def _input_size(params: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the size of the input image; None if there is none, or several."""
    image = params.get("image")
    if isinstance(image, list | tuple) and len(image) == 1:
        image = image[0]
    return image.size if isinstance(image, Image) else None


def default_size(pipe: Any) -> tuple[int, int] | None:
    """Return the default size of a pipeline by its attribute or the sample size of its denoiser; None if it has neither."""
    side, scale = getattr(pipe, "default_sample_size", None), getattr(pipe, "vae_scale_factor", None)
    if side is None:
        sizes = (getattr(each.config, "sample_size", None) for each in find_denoisers(pipe) if hasattr(each, "config"))
        side = next((size for size in sizes if isinstance(size, int)), None)
    return (side * scale, side * scale) if isinstance(side, int) and isinstance(scale, int) else None


def _size(item: OutputItem) -> tuple[int, int] | None:
    if isinstance(item.value, Video):
        return item.value.frames[0].size
    return item.value.size if isinstance(item.value, Image) else None
