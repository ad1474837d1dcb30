"""Put a model back into the state that it was loaded in, after a call that failed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import DiffusionPipeline

from octabox.engine.worker.placement.process_memory import release_memory

logger = logging.getLogger("octabox.worker")


class ModelState:
    """The dtype and the device of every weight at load, and the attention processors at the beginning of a call.

    Pipelines change them within a call and undo it at the end, which a call that raises does not reach: with `force_upcast`
    the VAE is in float32 while it decodes.

    Args:
        pipelines: Pipelines whose components count.
    """

    def __init__(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        self._tensors: WeakKeyDictionary[torch.nn.Module, dict[str, tuple[torch.dtype, torch.device]]]
        self._tensors = WeakKeyDictionary()
        self._processors: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()
        self.note(pipelines)

    def note(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        """Note the attention processors, and the weights of modules that were not there before; a call begins."""
        self._processors.clear()
        for module in _modules(pipelines):
            if module not in self._tensors:
                self._tensors[module] = {name: (each.dtype, each.device) for name, each in _plain_tensors(module)}
            if callable(getattr(module, "set_processor", None)) and hasattr(module, "processor"):
                self._processors[module] = module.processor

    def restore(self, pipelines: Iterable[DiffusionPipeline]) -> None:
        """Give the weights their dtype and, where no memory mode moves them, their device; and the processors."""
        for module in _modules(pipelines):
            known = self._tensors.get(module, {})
            for name, tensor in _plain_tensors(module):
                dtype, device = known.get(name, (tensor.dtype, tensor.device))
                if device.type in ("cpu", "meta"):
                    device = tensor.device
                if (tensor.dtype, tensor.device) != (dtype, device):
                    tensor.data = tensor.data.to(device=device, dtype=dtype)
        for module, processor in self._processors.items():
            if module.processor is not processor:
                getattr(module, "set_processor")(processor)  # noqa: B009 (its type is no attribute of every module)


def clear_frames(error: BaseException) -> None:
    """Let an exception, and those that it was raised from, keep no tensor of the call that it ended."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]


def clean_up(pipelines: Iterable[DiffusionPipeline], device: str, state: ModelState | None = None) -> None:
    """Undo what an interrupted call leaves behind: step caches, weights in another dtype, memory kept for reuse.

    Pipelines do this at the end of a call, but not when the call raises. Which device weights are on is the
    matter of `Placement`. Nothing of it raises: where the device is broken, the caller finds out by `is_usable`.

    Args:
        pipelines: All pipelines over the model's components.
        device: The device that the model runs on.
        state: The state to restore; None leaves dtypes as they are.
    """
    pipelines = list(pipelines)
    for component in _components(pipelines):
        if callable(reset := getattr(component, "_reset_stateful_cache", None)):
            _attempt(reset)
    if state is not None:
        _attempt(lambda: state.restore(pipelines))
    release_memory(device)


def is_usable(device: str) -> bool:
    """Return whether a device still computes; after some errors each use of its context fails until the process ends."""
    if torch.device(device).type == "cpu":
        return True
    try:
        return bool(torch.ones(1, device=device).add_(1).cpu().item() == 2)  # noqa: PLR2004 (1 + 1)
    except torch.OutOfMemoryError:
        return True
    except Exception as error:  # noqa: BLE001 (a broken device raises anything)
        logger.debug("%s cannot be used any more: %s", device, error)
        return False


def _attempt(action: Callable[[], object]) -> None:
    """Call something that may fail after another failure."""
    try:
        action()
    except Exception as error:
        logger.debug("cleaning up failed: %s", error, exc_info=error)


def _components(pipelines: Iterable[DiffusionPipeline]) -> list[torch.nn.Module]:
    """Return the components of the pipelines that have weights, each once."""
    parts = [part for pipe in pipelines for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return list(dict.fromkeys(parts))


def _modules(pipelines: Iterable[DiffusionPipeline]) -> list[torch.nn.Module]:
    """Return all modules of the pipelines' components, each once."""
    return list(dict.fromkeys(module for part in _components(pipelines) for module in part.modules()))


def _plain_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a module's own floating-point weights and buffers, without quantised ones, which are of classes of their own."""
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:  # noqa: SLF001 (without those of submodules)
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
        if tensor is not None and plain and tensor.is_floating_point():
            yield name, tensor
