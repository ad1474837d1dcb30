"""Resolve a model's performance settings before it is loaded, and refuse impossible ones."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.config.model import ModelConfig
from octabox.config.performance import (
    COMPILED_CODE_VARIABLE,
    GRAPH_MODES,
    NO_CACHE,
    CacheConfig,
    PerformanceConfig,
    effective_settings,
)
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.performance.attention import check_attention
from octabox.engine.worker.performance.caches import check_cache
from octabox.engine.worker.performance.compiler import check_backend
from octabox.errors import LoadError

#: Subfolder of the cache for compiled code.
CACHE_FOLDER = "compiled"

#: Memory mode that moves each layer and so changes the addresses that compiled code reads.
SEQUENTIAL = "sequential_cpu_offload"


@dataclass
class PerformancePlan:
    """The performance settings of one model, and whether each is applied.

    Args:
        model: Name of the model.
        device: Device that it runs on.
        settings: All settings of the model.
        overrides: Names of the settings in the configuration; the others come from the profile.
        memory: Memory mode of the model.
        applied: Effect of each applied setting.
        skipped: Reason for each skipped setting.
        warnings: Warnings about skipped settings in the configuration.
    """

    model: str
    device: str
    settings: PerformanceConfig
    overrides: frozenset[str] = frozenset()
    memory: str = "full"
    applied: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a CUDA device, including ROCm."""
        return self.device.partition(":")[0] == "cuda"

    def skip(self, setting: str, reason: str) -> None:
        """Record that a setting has no effect, with a warning if it is in the configuration."""
        self.skipped[setting] = reason
        if setting in self.overrides:
            self.warnings.append(f"`performance.{setting}` has no effect: {reason}.")

    def refuse(self, setting: str, reason: str, choices: Iterable[str]) -> None:
        """Record that a setting is not possible.

        Raises:
            LoadError: The setting is in the configuration.
        """
        if setting not in self.overrides:
            self.skip(setting, reason)
            return
        choices = tuple(choices)
        raise LoadError(
            f"Model '{self.model}': `performance.{setting}` is not possible: {reason}.",
            hint=f"Choose one of: {', '.join(choices)}.",
            model=self.model,
            parameter=f"performance.{setting}",
            choices=choices,
        )


def plan_performance(config: ModelConfig, options: WorkerOptions, device: str) -> PerformancePlan:
    """Return the performance settings of a model that is about to be loaded.

    Args:
        config: The model's configuration.
        options: The default profile and the folder for compiled code.
        device: Device that the model will run on.

    Raises:
        LoadError: A setting in the configuration is not possible; the error lists the possible values.
        MissingDependencyError: It needs a package that is not installed.
    """
    settings = effective_settings(config.performance, options.profile)
    overrides: dict[str, Any] = config.performance.overrides
    plan = PerformancePlan(config.name, device, settings, frozenset(overrides), memory=config.memory)
    if config.parallel:
        plan.settings = settings = _without_unshared(plan)
    if settings.attention:
        check_attention(settings.attention, config.name)
    if settings.cache and settings.cache.method != NO_CACHE:
        check_cache(settings.cache, config.name)
    if settings.compile != "off":
        check_backend(str(settings.compile_backend), config.name)
        _check_compile(plan)
        set_compile_cache(options.cache_dir)
    return plan


def set_compile_cache(cache_dir: str | None) -> None:
    """Set torch's folder for compiled code; None leaves torch's default."""
    if cache_dir is not None:
        # Importing torch has set the variable already; the server knows whether the user had set it.
        os.environ[COMPILED_CODE_VARIABLE] = str(Path(cache_dir) / CACHE_FOLDER)


def _without_unshared(plan: PerformancePlan) -> PerformanceConfig:
    """Return the settings of a model that is split, without what each process would decide for its own part of the tensors."""
    update: dict[str, Any] = {}
    for name, off in (("compile", "off"), ("fuse_qkv", False), ("cache", CacheConfig(method=NO_CACHE))):
        if getattr(plan.settings, name) != off:
            plan.refuse(
                name, "the model is split by `parallel`", [off.method if isinstance(off, CacheConfig) else str(off)]
            )
            update[name] = off
    return plan.settings.model_copy(update=update)


def _check_compile(plan: PerformancePlan) -> None:
    """Check the compile settings against the memory mode and device, and skip those of the profile that are not possible."""
    settings, update = plan.settings, dict[str, Any]()
    if plan.memory == SEQUENTIAL and plan.device != "cpu":
        plan.refuse("compile", f"with `memory: {plan.memory}` each layer is moved separately", ["off"])
        update["compile"] = "off"
    elif settings.compile_mode in GRAPH_MODES:
        modes = ["default", "max-autotune-no-cudagraphs"]
        if plan.memory != "full" and plan.device != "cpu":
            plan.refuse(
                "compile_mode",
                f"CUDA graphs need weights at fixed addresses, unlike with `memory: {plan.memory}`",
                modes,
            )
            update["compile_mode"] = "default"
        elif not plan.on_cuda:
            plan.skip("compile_mode", f"there are no CUDA graphs on {plan.device}; code is compiled without them")
    plan.settings = settings.model_copy(update=update)
