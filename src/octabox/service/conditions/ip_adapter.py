"""Check the images and the scales of a request for the IP-Adapters of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from octabox.catalog.conditions.ip_adapter import IMAGE_PARAMETER, SCALE_PARAMETER, ip_adapter_inputs, takes_ip_adapter
from octabox.catalog.entries import PipelineEntry
from octabox.config.model import MAX_WEIGHT, ModelConfig
from octabox.errors import InvalidParameterError, InvalidRequestError


def with_image_prompts(
    entry: PipelineEntry, config: ModelConfig, params: Mapping[str, Any], files: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the parameters of a call with the scale of its IP-Adapters, and warnings.

    Args:
        entry: The pipeline.
        config: The model's configuration, with the IP-Adapters.
        params: The checked parameters of the call.
        files: The files of the call.

    Raises:
        InvalidParameterError: The model has no IP-Adapter, or the number of images or scales is wrong.
        InvalidRequestError: There are several of these problems.
    """
    names, count = ip_adapter_inputs(files), len(config.ip_adapters)
    if not takes_ip_adapter(entry):
        return dict(params), ()
    if not names:
        requested = SCALE_PARAMETER in params and SCALE_PARAMETER not in config.defaults
        rest = {name: value for name, value in params.items() if name != SCALE_PARAMETER}
        return rest, (f"'{SCALE_PARAMETER}' has no effect without '{IMAGE_PARAMETER}'.",) if requested else ()
    if not count:
        raise InvalidParameterError(
            f"Model '{config.name}' has no IP-Adapter for '{names[0]}'.",
            hint="Add to its configuration: ip_adapters: [{model: a folder or Hub id}].",
            parameter=names[0],
        )
    scale = params.get(SCALE_PARAMETER)
    scales = [each.scale for each in config.ip_adapters] if scale is None else scale
    images = [each.name for each in entry.media() if each.name in names]
    problems = [*_count_mismatches(images, files, count), *_scale_problems(scales, count)]
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return {**params, SCALE_PARAMETER: scales[0] if isinstance(scales, list) and count == 1 else scales}, ()


def _count_mismatches(
    names: list[str], files: Mapping[str, Sequence[Any]], count: int
) -> Iterator[InvalidParameterError]:
    """Yield an error for each parameter that does not have one image, or list of images, for each IP-Adapter."""
    for name in names:
        images = files[name]
        has_gaps = any(each is None for one in images for each in (one if isinstance(one, list) else [one]))
        if len(images) == count and not has_gaps:
            continue
        expected = f"this model has {count} IP-Adapters" if count > 1 else "this model has one IP-Adapter"
        found = "has null in place of an image" if has_gaps else f"is {len(images)} image{'s'[: len(images) > 1]}"
        more = "Several for one of them are a list inside the list."
        hint = f"Give a list of {count}, one for each. {more}" if count > 1 else f"Give one. {more}"
        yield InvalidParameterError(f"'{name}' {found}, and {expected}.", hint=hint, parameter=name)


def _scale_problems(scale: Any, count: int) -> Iterator[InvalidParameterError]:
    """Yield an error if the number of scales is wrong, or a scale is out of range."""
    scales = scale if isinstance(scale, list) else [scale]
    if isinstance(scale, list) and len(scale) != count:
        expected = f"this model has {count} IP-Adapters" if count > 1 else "this model has one IP-Adapter"
        yield InvalidParameterError(
            f"'{SCALE_PARAMETER}' has {len(scale)} number{'s'[: len(scale) > 1]}, and {expected}.",
            hint=f"Give one number for all, or a list of {count}." if count > 1 else "Give one number.",
            parameter=SCALE_PARAMETER,
        )
    for value in [each for each in scales if not abs(each) <= MAX_WEIGHT][:1]:
        yield InvalidParameterError(
            f"'{SCALE_PARAMETER}' must be from {-MAX_WEIGHT} to {MAX_WEIGHT}, not {value:g}.", parameter=SCALE_PARAMETER
        )
