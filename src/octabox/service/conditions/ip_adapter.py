"""Check what a request says to a model's IP-Adapters: an image for each, and how strongly they work."""

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
    """Return the parameters of a call with the strength of its IP-Adapters, and what has no effect.

    Args:
        entry: The pipeline.
        config: The model's configuration, which names the IP-Adapters.
        params: What the call is to be given, checked.
        files: What it is to be given as files.

    Raises:
        InvalidParameterError: The model has no IP-Adapter, or others than there are images or strengths for.
        InvalidRequestError: Several of these at once.
    """
    given, count = ip_adapter_inputs(files), len(config.ip_adapters)
    if not takes_ip_adapter(entry):
        return dict(params), ()
    if not given:
        asked = SCALE_PARAMETER in params and SCALE_PARAMETER not in config.defaults
        rest = {name: value for name, value in params.items() if name != SCALE_PARAMETER}
        return rest, (f"'{SCALE_PARAMETER}' has no effect without '{IMAGE_PARAMETER}'.",) if asked else ()
    if not count:
        raise InvalidParameterError(
            f"Model '{config.name}' has no IP-Adapter for '{given[0]}'.",
            hint="Write into its configuration: ip_adapters: [{model: a folder or Hub id}].",
            parameter=given[0],
        )
    scale = params.get(SCALE_PARAMETER)
    chosen = [each.scale for each in config.ip_adapters] if scale is None else scale
    images = [each.name for each in entry.media() if each.name in given]
    problems = [*_count_mismatches(images, files, count), *_odd_scales(chosen, count)]
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return {**params, SCALE_PARAMETER: chosen[0] if isinstance(chosen, list) and count == 1 else chosen}, ()


def _count_mismatches(
    names: list[str], files: Mapping[str, Sequence[Any]], count: int
) -> Iterator[InvalidParameterError]:
    """Yield an error for each parameter that has not one image, or list of images, for each IP-Adapter."""
    for name in names:
        given = files[name]
        open_places = any(each is None for one in given for each in (one if isinstance(one, list) else [one]))
        if len(given) == count and not open_places:
            continue
        there = f"this model has {count} IP-Adapters" if count > 1 else "this model has one IP-Adapter"
        found = "leaves a place open" if open_places else f"is {len(given)} image{'s'[: len(given) > 1]}"
        more = "Several for one of them are a list inside the list."
        hint = f"Give a list of {count}, one for each. {more}" if count > 1 else f"Give one. {more}"
        yield InvalidParameterError(f"'{name}' {found}, and {there}.", hint=hint, parameter=name)


def _odd_scales(scale: Any, count: int) -> Iterator[InvalidParameterError]:
    """Yield an error where there are not as many strengths as IP-Adapters, or one is beyond all measure."""
    scales = scale if isinstance(scale, list) else [scale]
    if isinstance(scale, list) and len(scale) != count:
        there = f"this model has {count} IP-Adapters" if count > 1 else "this model has one IP-Adapter"
        yield InvalidParameterError(
            f"'{SCALE_PARAMETER}' has {len(scale)} number{'s'[: len(scale) > 1]}, and {there}.",
            hint=f"Give one number for all, or a list of {count}." if count > 1 else "Give one number.",
            parameter=SCALE_PARAMETER,
        )
    for value in [each for each in scales if not abs(each) <= MAX_WEIGHT][:1]:
        yield InvalidParameterError(
            f"'{SCALE_PARAMETER}' must be from {-MAX_WEIGHT} to {MAX_WEIGHT}, not {value:g}.", parameter=SCALE_PARAMETER
        )
