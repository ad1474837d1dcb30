"""Place a model's components according to its memory mode, and offload them again after each call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel

from octabox.config.model import ModelConfig
from octabox.config.preset_merge import settings_for
from octabox.engine.worker.placement.offloaders.alignment import HOST, is_quantized
from octabox.engine.worker.placement.offloaders.borrowed_weights import BorrowedWeights
from octabox.engine.worker.placement.offloaders.component import ComponentOffloader, EvictionPolicy, ResidentComponent
from octabox.engine.worker.placement.offloaders.group import GroupOffloader
from octabox.engine.worker.placement.offloaders.sequential import SequentialOffloader

logger = logging.getLogger("octabox.worker")


class Offloader(Protocol):
    """Moves the weights of one component between host and device."""

    name: str
    module: torch.nn.Module

    def install(self) -> None:
        """Offload the component and install the hooks that load it when it is used."""

    def remove(self) -> None:
        """Offload the component and remove the hooks."""

    def unload(self) -> None:
        """Offload the component."""


class Placement:
    """The placement of one model's components on host and device.

    Its methods do nothing before `install` is called, and in the memory mode ``full``.

    Args:
        mode: The memory mode.
        device: Device that the model computes on.
    """

    def __init__(self, mode: str = "full", device: str = "cpu") -> None:
        # With an index, as the devices of tensors have.
        self.device = torch.empty(0, device=device).device
        self.mode = mode if self.device != HOST else "full"
        self._eviction = EvictionPolicy(self.device)
        self._offloaders: list[Offloader] = []
        self._components: Mapping[str, Any] = {}
        self.reason = ""
        self._attach_all: Callable[[], AbstractContextManager[object]] = nullcontext
        self.notes: tuple[str, ...] = ()
        self._is_away = False

    @property
    def offloads(self) -> bool:
        """Whether weights move between the host and the device."""
        return self.mode != "full"

    def install(
        self, components: Mapping[str, Any], attach_all: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Move components to the device, or install their offloading.

        Args:
            components: All components by name, those of sibling pipelines included; several of a name as a list.
            attach_all: Context in which all optional modules, such as those of IP-Adapters, are part of the components.
        """
        self._components, self._attach_all = components, attach_all
        with attach_all():
            for name, module in _modules(components).items():
                if not self.offloads:
                    _move(module, self.device)
                elif self.mode == "encoder_offload" and not isinstance(module, PreTrainedModel):
                    _move(module, self.device)
                    self._offloaders.append(ResidentComponent(name, module, self._eviction))
                    self._offloaders[-1].install()
                elif (offloader := self._install_offloader(name, module)) is not None:
                    self._offloaders.append(offloader)

    def change_mode(self, mode: str, reason: str) -> None:
        """Place the components as another mode does, between two calls, and keep why; if that fails, as they were before."""
        before, reason_before, was_away = self.mode, self.reason, self._is_away
        self._remove_offloaders()
        try:
            self._place(mode, reason)
        except BaseException:
            self._remove_offloaders()
            self.mode = before
            self._place(before, reason_before) if not was_away else self.leave_device(reason_before)
            raise

    def leave_device(self, reason: str) -> None:
        """Move what can be moved to the host, between two calls, until `change_mode` places it again, and keep why."""
        self.reason = reason
        self._remove_offloaders()
        self._offloaders, self._is_away = [], True
        with self._attach_all():
            for module in _modules(self._components).values():
                _move(module, HOST)

    def _place(self, mode: str, reason: str) -> None:
        """Install a mode, and keep why; those that offload move to the host what is on the device."""
        self._offloaders, self._eviction, self._is_away = [], EvictionPolicy(self.device), False
        self.mode, self.reason = mode, reason
        self.install(self._components, self._attach_all)

    @contextmanager
    def call_scope(self) -> Iterator[None]:
        """Run a call of the model within the context, and offload its components afterwards, also on errors."""
        by_layers = any(isinstance(each, GroupOffloader | SequentialOffloader) for each in self._offloaders)
        try:
            with BorrowedWeights(self.device) if by_layers else nullcontext():
                yield
            self.restore()
        except BaseException:
            self._recover()
            raise

    def restore(self) -> None:
        """Offload every component and release cached device memory."""
        for offloader in self._offloaders:
            offloader.unload()
        self._eviction.begin_call()
        empty_cache = getattr(torch.get_device_module(self.device), "empty_cache", None)
        if self._offloaders and empty_cache is not None:
            empty_cache()

    def _recover(self) -> None:
        """Offload every component after a failed call; further errors are only logged."""
        try:
            # diffusers records the order of layers in the first call, which may have been interrupted.
            with self.suspended():
                pass
            self.restore()
        except Exception as error:
            logger.debug("the components could not be offloaded: %s", error, exc_info=error)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Remove all offloading hooks within the context, so that modules can be added to components or removed.

        Meanwhile the weights are on the host. Offloading is installed again afterwards, also on errors, for the modules that
        the components have then.
        """
        self._remove_offloaders()
        try:
            yield
        finally:
            with self._attach_all():
                for offloader in self._offloaders:
                    offloader.install()

    @contextmanager
    def without_eviction(self) -> Iterator[None]:
        """Use a component within the context without offloading another one for it, and offload it afterwards."""
        with self._eviction.without_eviction():
            yield

    def _remove_offloaders(self) -> None:
        """Move the components that are offloaded to the host, without hooks."""
        with self._attach_all():
            for offloader in self._offloaders:
                offloader.remove()

    def _install_offloader(self, name: str, module: torch.nn.Module) -> Offloader | None:
        """Install and return the offloader of a component; None if the component cannot be moved."""
        try:
            module.to(HOST)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            self.notes += (f"`memory: {self.mode}` does not move the component '{name}': {reason}",)
            return None
        offloader = _create_offloader(name, module, self.mode, self.device, self._eviction)
        try:
            offloader.install()
        except ValueError as error:
            logger.info("the component '%s' is moved as a whole: %s", name, error)
            offloader = ComponentOffloader(name, module, self._eviction)
            offloader.install()
        return offloader


def _create_offloader(
    name: str, module: torch.nn.Module, mode: str, device: torch.device, eviction: EvictionPolicy
) -> Offloader:
    """Return the offloader of a component in a memory mode."""
    if mode == "sequential_cpu_offload" and not is_quantized(module):
        return SequentialOffloader(name, module, device)
    if mode == "group_offload" and GroupOffloader.supports(module, device):
        return GroupOffloader(name, module, device)
    return ComponentOffloader(name, module, eviction)


def _modules(components: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
    """Return the distinct components that are modules; those of a list with their index."""
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


def _move(module: torch.nn.Module, device: torch.device) -> None:
    """Move a component to a device, unless its weights are quantized and were loaded there."""
    try:
        module.to(device)
    except ValueError:
        if not is_quantized(module):
            raise


def prepare_placement(config: ModelConfig, pipeline: str, device: str, reason: str = "") -> Placement:
    """Create a model's placement, with a note if the configured memory mode has no effect.

    Args:
        config: The model's configuration.
        pipeline: Name of its class.
        device: Device that it computes on.
        reason: Why the mode was selected; empty if it was configured.
    """
    placement = Placement(config.memory, device)
    placement.reason = reason
    # The memory mode of a preset is meant for accelerators only and needs no note.
    if config.memory not in ("auto", placement.mode) and settings_for(pipeline).get("memory") != config.memory:
        placement.notes = (
            f"`memory: {config.memory}` has no effect on the CPU, since there is no accelerator to offload from.",
        )
    return placement
