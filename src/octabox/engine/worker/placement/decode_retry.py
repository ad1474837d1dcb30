"""Decode latents again in float32 where decoding them in half precision gave NaN or infinity."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline

from octabox.engine.worker.placement.casts import cast_arguments, cast_output, find_compute_dtype
from octabox.engine.worker.placement.dtype import HALF_DTYPES, dtype_name
from octabox.engine.worker.placement.layerwise_casting import layerwise_hooks

logger = logging.getLogger(__name__)

#: The method that makes media of latents.
DECODE = "decode"


@contextmanager
def retry_decoding_in_float32(pipe: DiffusionPipeline, said: list[str]) -> Iterator[None]:
    """Let the autoencoders of a pipeline decode once more in float32, within the context, what overflows in half precision.

    Args:
        pipe: The pipeline.
        said: Gets a sentence about each autoencoder that did.
    """
    with ExitStack() as stack:
        for name, component in pipe.components.items():
            if isinstance(component, torch.nn.Module) and callable(getattr(component, DECODE, None)):
                stack.enter_context(_watched(name, component, said))
        yield


@contextmanager
def _watched(name: str, component: torch.nn.Module, said: list[str]) -> Iterator[None]:
    """Watch what one autoencoder decodes."""
    decode, own = getattr(component, DECODE), vars(component).get(DECODE)

    @functools.wraps(decode)
    def watched(*args: Any, **kwargs: Any) -> Any:
        dtype = find_compute_dtype(component)
        output = decode(*args, **kwargs)
        if dtype not in HALF_DTYPES or is_finite(output) or not is_finite([*args, *kwargs.values()]):
            return output
        assert dtype is not None  # noqa: S101 (it is one of the half types)
        return _repeated(name, component, decode, (args, kwargs), output, said)

    setattr(component, DECODE, watched)
    try:
        yield
    finally:
        delattr(component, DECODE)
        if own is not None:
            setattr(component, DECODE, own)


def _repeated(
    name: str,
    component: torch.nn.Module,
    decode: Callable[..., Any],
    given: tuple[tuple[Any, ...], dict[str, Any]],
    output: Any,
    said: list[str],
) -> Any:
    """Return what an autoencoder decodes in float32; what it decoded before where that fails or is not finite either."""
    dtype = find_compute_dtype(component)
    assert dtype is not None  # noqa: S101 (the caller has looked)
    args, kwargs = cast_arguments(*given, torch.float32)
    try:
        with _in_float32(component):
            again = decode(*args, **kwargs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # Weights that a memory mode keeps elsewhere cannot be cast here.
        logger.debug("'%s' cannot decode in float32: %r", name, error)
        return output
    if not is_finite(again):
        return output
    said.append(
        f"'{name}' gave numbers out of range (NaN) in {dtype_name(dtype)}, and decoded once more in float32. "
        f"With `components: {{{name}: {{dtype: float32}}}}` in the model's configuration it does so at once."
    )
    # What follows in the pipeline expects the dtype that it had, as far as the numbers fit into it.
    return cast_output(again, dtype) if is_finite(again, dtype) else again


@contextmanager
def _in_float32(component: torch.nn.Module) -> Iterator[None]:
    """Let a component compute in float32 within the context; each weight gets its own dtype back, and the same numbers."""
    halves = {name: each.dtype for name, each in _weights(component) if each.dtype in HALF_DTYPES}
    # What is stored in eight bits stays so: these bring it into the dtype to compute in when it is used.
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
    """Return whether all floating numbers of a tensor, or of what lies in a list, a mapping or an output, are finite.

    Args:
        value: What is looked at; anything else has no such numbers.
        dtype: Dtype in which they are to be finite; None is their own.
    """
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value if dtype is None else value.to(dtype)).all())
    if isinstance(value, Mapping):
        return all(is_finite(each, dtype) for each in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_finite(each, dtype) for each in value)
    return True
