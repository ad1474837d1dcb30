"""Restore a model's state after a failed call."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import DiffusionPipeline

from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.process_memory import release_memory

logger = logging.getLogger("octabox.worker")


class ModelState:
    """The dtype and device of every weight at load, and the attention processors at the start of a call.

    Pipelines change these during a call and reset them at its end, which a failed call does not reach: with `force_upcast`
    the VAE is in float32 while it decodes.

    Args:
        pipelines: Pipelines with the components to record.
    """

    def __init__(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        self._tensors: WeakKeyDictionary[torch.nn.Module, dict[str, tuple[torch.dtype, torch.device]]]
        self._tensors = WeakKeyDictionary()
        self._processors: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()
        self.record(pipelines)

    def record(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        """Record the attention processors, and the weights of new modules, at the start of a call."""
        self._processors.clear()
        for module in _modules(pipelines):
            if module not in self._tensors:
                self._tensors[module] = {name: (each.dtype, each.device) for name, each in _dense_tensors(module)}
            if callable(getattr(module, "set_processor", None)) and hasattr(module, "processor"):
                self._processors[module] = module.processor

    def restore(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        """Restore the attention processors, the dtype of the weights and, unless they are offloaded, their device."""
        for module in _modules(pipelines):
            recorded = self._tensors.get(module, {})
            for name, tensor in _dense_tensors(module):
                dtype, device = recorded.get(name, (tensor.dtype, tensor.device))
                if device.type in ("cpu", "meta"):
                    device = tensor.device
                if (tensor.dtype, tensor.device) != (dtype, device):
                    tensor.data = tensor.data.to(device=device, dtype=dtype)
        for module, processor in self._processors.items():
            if module.processor is not processor:
                getattr(module, "set_processor")(processor)  # noqa: B009 (torch.nn.Module does not declare it)


def clear_frames(error: BaseException) -> None:
    """Clear the frames of an exception and its causes, which refer to tensors of the failed call."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]


def clean_up(pipelines: Iterable[DiffusionPipeline], device: str, state: ModelState | None = None) -> None:
    """Reset step caches, restore the dtypes of weights and release cached memory after a failed call.

    Pipelines do this themselves at the end of a successful call. Offloaded weights are moved by `Placement`. No errors are
    raised; `is_usable` shows whether the device failed.

    Args:
        pipelines: All pipelines that share the model's components.
        device: The device that the model runs on.
        state: The state to restore; None leaves dtypes unchanged.
    """
    pipelines = list(pipelines)
    for component in _components(pipelines):
        if callable(reset := getattr(component, "_reset_stateful_cache", None)):
            _attempt(reset)
    if state is not None:
        _attempt(lambda: state.restore(pipelines))
    release_memory(device)


def is_usable(device: str) -> bool:
    """Return whether a device still works; after some errors every use fails until the process ends."""
    if torch.device(device).type == "cpu":
        return True
    try:
        return bool(torch.ones(1, device=device).add_(1).cpu().item() == 2)  # noqa: PLR2004 (1 + 1)
    except Exception as error:  # noqa: BLE001 (a failed device raises any exception)
        if is_out_of_memory(error):
            return True
        logger.debug("%s cannot be used: %s", device, error)
        return False


def _attempt(action: Callable[[], object]) -> None:
    """Call a function and only log its errors."""
    try:
        action()
    except Exception as error:
        logger.debug("cleaning up failed: %s", error, exc_info=error)


def _components(pipelines: Iterable[DiffusionPipeline]) -> list[torch.nn.Module]:
    """Return the distinct components of the pipelines that are modules."""
    parts = [part for pipe in pipelines for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return list(dict.fromkeys(parts))


def _modules(pipelines: Iterable[DiffusionPipeline]) -> list[torch.nn.Module]:
    """Return the distinct modules of the pipelines' components."""
    return list(dict.fromkeys(module for part in _components(pipelines) for module in part.modules()))


def _dense_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a module's direct floating-point weights and buffers, without quantized ones, which are tensor subclasses."""
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:  # noqa: SLF001 (without those of submodules)
        is_dense = type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
        if tensor is not None and is_dense and tensor.is_floating_point():
            yield name, tensor
