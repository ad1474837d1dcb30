"""Place a model's components as its memory mode says, and put them back after each call and each change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch

from octabox.config.model import ModelConfig
from octabox.config.preset_merge import settings_for
from octabox.engine.worker.placement.offloaders.alignment import HOST
from octabox.engine.worker.placement.offloaders.borrowed_weights import BorrowedWeights
from octabox.engine.worker.placement.offloaders.component import ComponentOffloader, EvictionPolicy
from octabox.engine.worker.placement.offloaders.group import GroupOffloader
from octabox.engine.worker.placement.offloaders.sequential import SequentialOffloader

logger = logging.getLogger("octabox.worker")


class Offloader(Protocol):
    """Moves the weights of one component."""

    name: str
    module: torch.nn.Module

    def install(self) -> None:
        """Move the component to where it waits, and install what moves it when it is used."""

    def remove(self) -> None:
        """Take that off again; the component is on the host then."""

    def unload(self) -> None:
        """Move the component to where it waits."""


class Placement:
    """Where the components of one model are.

    Until `install` is called, and where nothing is to be moved, all its methods do nothing.

    Args:
        mode: The memory mode.
        device: Where the model computes.
    """

    def __init__(self, mode: str = "full", device: str = "cpu") -> None:
        # With the index that its tensors have.
        self.device = torch.empty(0, device=device).device
        self.mode = mode if self.device != HOST else "full"
        self._residency = EvictionPolicy(self.device)
        self._movers: list[Offloader] = []
        self._complete: Callable[[], AbstractContextManager[object]] = nullcontext
        self.notes: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether weights move between the host and the device."""
        return self.mode != "full"

    def install(
        self, components: Mapping[str, Any], complete: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Move components to where they wait.

        Args:
            components: All components by name, those of siblings too; several of a name as a list.
            complete: Lets the components have all modules that are ever in them within its context.
        """
        self._complete = complete
        with complete():
            for name, module in _modules(components).items():
                if not self.moves:
                    _place_whole(module, self.device)
                elif (mover := self._installed(name, module)) is not None:
                    self._movers.append(mover)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Let the model be called within the context; what the call did, or left undone, is over afterwards."""
        by_layers = any(not isinstance(each, ComponentOffloader) for each in self._movers)
        try:
            with BorrowedWeights(self.device) if by_layers else nullcontext():
                yield
            self.restore()
        except BaseException:
            self._recover()
            raise

    def restore(self) -> None:
        """Move every component to where it waits, and release the memory that they leave to other processes."""
        for mover in self._movers:
            mover.unload()
        self._residency.begin_call()
        release = getattr(torch.get_device_module(self.device), "empty_cache", None)
        if self._movers and release is not None:
            release()

    def _recover(self) -> None:
        """Do the same after a call that failed; what goes wrong then is of no interest beside why it failed."""
        try:
            # diffusers notes the order of layers in the first call, which may have ended amid them.
            with self.suspended():
                pass
            self.restore()
        except Exception as error:
            logger.debug("the components could not be moved back: %s", error, exc_info=error)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let modules be put into components, or be taken out of them, within the context.

        The weights are where they wait meanwhile, and nothing moves them. Afterwards, and after any error, all is moved again
        as before, with the modules that are there then.
        """
        with self._complete():
            for mover in self._movers:
                mover.remove()
        try:
            yield
        finally:
            with self._complete():
                for mover in self._movers:
                    mover.install()

    @contextmanager
    def without_eviction(self) -> Iterator[None]:
        """Let a component be used within the context without moving another away, and move it away afterwards."""
        with self._residency.without_eviction():
            yield

    def _installed(self, name: str, module: torch.nn.Module) -> Offloader | None:
        """Return what moves a component, at work already; None where the component has to stay where it is."""
        try:
            module.to(HOST)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            self.notes += (f"`memory: {self.mode}` does not move the component '{name}': {reason}",)
            return None
        mover = self._mover(name, module)
        try:
            mover.install()
        except ValueError as error:
            logger.info("the component '%s' is moved as a whole: %s", name, error)
            mover = ComponentOffloader(name, module, self._residency)
            mover.install()
        return mover

    def _mover(self, name: str, module: torch.nn.Module) -> Offloader:
        # Weights that are packed are moved by methods of their own, all together.
        by_layers = self.mode != "model_cpu_offload" and not _is_quantized(module)
        if by_layers and self.mode == "sequential_cpu_offload":
            return SequentialOffloader(name, module, self.device)
        if by_layers and GroupOffloader.supports(module, self.device):
            return GroupOffloader(name, module, self.device)
        return ComponentOffloader(name, module, self._residency)


def _modules(components: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """Return the components that have weights, each once; those of a list by their numbers."""
    named = [
        (f"{name}.{index}" if isinstance(part, list) else name, each)
        for name, part in components.items()
        for index, each in enumerate(part if isinstance(part, list) else [part])
    ]
    modules: dict[str, torch.nn.Module] = {}
    for name, each in named:
        if isinstance(each, torch.nn.Module) and not any(each is other for other in modules.values()):
            modules[name] = each
    return modules


def _place_whole(module: torch.nn.Module, device: torch.device) -> None:
    """Move a component to a device; some packed weights are there since they were loaded, and refuse to be moved."""
    try:
        module.to(device)
    except ValueError:
        if not _is_quantized(module):
            raise


def _is_quantized(module: torch.nn.Module) -> bool:
    """Return whether a component's weights are packed."""
    return getattr(module, "hf_quantizer", None) is not None or getattr(module, "quantization_method", None) is not None


def prepare_placement(config: ModelConfig, pipeline: str, device: str) -> Placement:
    """Return what is to place a model, with a note where the configuration's memory mode has no effect.

    Args:
        config: The model's configuration.
        pipeline: Name of its class.
        device: Where it computes.
    """
    placement = Placement(config.memory, device)
    # What a preset says is meant for accelerators alone; nobody has asked for it.
    if config.memory != placement.mode and settings_for(pipeline).get("memory") != config.memory:
        placement.notes = (
            f"`memory: {config.memory}` has no effect on a processor: there is no accelerator to move weights from.",
        )
    return placement
