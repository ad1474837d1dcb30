"""Decode latents again in float32 if decoding in half precision gave NaN or infinity."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline

from octabox.engine.replacement import replaced
from octabox.engine.worker.placement.casts import cast_arguments, cast_output, find_compute_dtype
from octabox.engine.worker.placement.device_errors import hardware_cause
from octabox.engine.worker.placement.dtype import HALF_DTYPES, dtype_name
from octabox.engine.worker.placement.layerwise_casting import layerwise_hooks

logger = logging.getLogger(__name__)

#: The autoencoder method that decodes latents.
DECODE = "decode"


@contextmanager
def retry_decoding_in_float32(pipe: DiffusionPipeline, warnings: list[str]) -> Iterator[None]:
    """Within the context, repeat a decode in float32 if it overflows in half precision.

    Args:
        pipe: The pipeline whose autoencoders decode.
        warnings: List to append a warning to for each repeated decode.
    """
    with ExitStack() as stack:
        for name, component in pipe.components.items():
            if isinstance(component, torch.nn.Module) and callable(getattr(component, DECODE, None)):
                stack.enter_context(_wrap_decode(name, component, warnings))
        yield


@contextmanager
def _wrap_decode(name: str, component: torch.nn.Module, warnings: list[str]) -> Iterator[None]:
    """Wrap the decode method of an autoencoder within the context."""
    decode = getattr(component, DECODE)

    @functools.wraps(decode)
    def decode_with_retry(*args: Any, **kwargs: Any) -> Any:
        dtype = find_compute_dtype(component)
        output = decode(*args, **kwargs)
        if dtype not in HALF_DTYPES or is_finite(output) or not is_finite([*args, *kwargs.values()]):
            return output
        assert dtype is not None  # noqa: S101 (it is one of HALF_DTYPES)
        return _decode_in_float32(name, component, decode, (args, kwargs), output, warnings)

    with replaced(component, DECODE, decode_with_retry):
        yield


def _decode_in_float32(
    name: str,
    component: torch.nn.Module,
    decode: Callable[..., Any],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    output: Any,
    warnings: list[str],
) -> Any:
    """Return the output of a decode in float32, or the earlier output if this fails or is not finite either."""
    dtype = find_compute_dtype(component)
    assert dtype is not None  # noqa: S101 (checked by the caller)
    args, kwargs = cast_arguments(*arguments, torch.float32)
    try:
        with _upcast(component):
            float32_output = decode(*args, **kwargs)
    except RuntimeError as error:
        if hardware_cause(error) is not None:
            raise
        # Offloaded weights may not be castable here.
        logger.debug("'%s' cannot decode in float32: %r", name, error)
        return output
    if not is_finite(float32_output):
        return output
    warnings.append(
        f"The output of '{name}' contained NaN or infinity in {dtype_name(dtype)} and was decoded again in float32. "
        f"Set `components: {{{name}: {{dtype: float32}}}}` in the model's configuration to decode in float32 the first time."
    )
    # The pipeline expects the original dtype, if the values fit into it.
    return cast_output(float32_output, dtype) if is_finite(float32_output, dtype) else float32_output


@contextmanager
def _upcast(component: torch.nn.Module) -> Iterator[None]:
    """Let a component compute in float32 within the context; afterwards its weights have their dtypes and values again."""
    halves = {name: each.dtype for name, each in _weights(component) if each.dtype in HALF_DTYPES}
    # Weights stored in eight bits stay so; these hooks upcast them when they are used.
    hooks = [(hook, hook.compute_dtype) for hook in layerwise_hooks(component)]
    try:
        for name, tensor in _weights(component):
            if name in halves:
                tensor.data = tensor.data.to(torch.float32)
        for hook, _ in hooks:
            hook.compute_dtype = torch.float32
        yield
    finally:
        for name, tensor in _weights(component):
            if name in halves:
                tensor.data = tensor.data.to(halves[name])
        for hook, dtype in hooks:
            hook.compute_dtype = dtype


def _weights(component: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return a component's weights and buffers by name."""
    return [*component.named_parameters(), *component.named_buffers()]


def is_finite(value: Any, dtype: torch.dtype | None = None) -> bool:
    """Return whether all floating-point values in a tensor, list, mapping or output are finite.

    Args:
        value: Value to check.
        dtype: Dtype in which they must be finite; None is the tensor's dtype.
    """
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value if dtype is None else value.to(dtype)).all())
    if isinstance(value, Mapping):
        return all(is_finite(each, dtype) for each in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_finite(each, dtype) for each in value)
    return True
