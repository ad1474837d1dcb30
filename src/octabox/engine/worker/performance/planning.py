"""Decide before a model is loaded which performance settings hold for it, and refuse those that cannot."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.config.model import ModelConfig
from octabox.config.performance import GRAPH_MODES, NO_CACHE, PerformanceConfig, effective_settings
from octabox.engine.messages import COMPILED_CODE_VARIABLE, WorkerOptions
from octabox.engine.worker.performance.attention import check_attention
from octabox.engine.worker.performance.caches import check_cache
from octabox.engine.worker.performance.compiling import check_backend
from octabox.errors import LoadError

#: Our folder for compiled code.
CACHE_FOLDER = "compiled"

#: Memory mode that moves each layer by itself, and with it the addresses that compiled code reads.
LAYER_BY_LAYER = "sequential_cpu_offload"


@dataclass
class PerformancePlan:
    """The performance settings of one model, and what has become of each.

    Args:
        model: Name of the model.
        device: Where it runs.
        settings: All settings that hold for it.
        given: Names of those that its configuration states itself; the others are of its profile.
        memory: Its memory mode.
        applied: What each setting that is in effect did.
        skipped: Why each setting of the profile is not in effect.
        warnings: Why each setting of the configuration is not.
    """

    model: str
    device: str
    settings: PerformanceConfig
    given: frozenset[str] = frozenset()
    memory: str = "full"
    applied: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def on_cuda(self) -> bool:
        """Whether the device is one of CUDA's kind, ROCm's included."""
        return self.device.partition(":")[0] == "cuda"

    def skip(self, setting: str, reason: str) -> None:
        """Note that a setting has no effect; one that the configuration states is a warning."""
        self.skipped[setting] = reason
        if setting in self.given:
            self.warnings.append(f"`performance.{setting}` has no effect: {reason}.")

    def refuse(self, setting: str, reason: str, choices: Iterable[str]) -> None:
        """Note that a setting of the profile is impossible.

        Raises:
            LoadError: The configuration states it itself.
        """
        if setting not in self.given:
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
        options: The profile of models that name none, and the folder for compiled code.
        device: Where the model will run.

    Raises:
        LoadError: A setting that the configuration states is not possible here; the error names those that are.
        MissingDependencyError: It needs a package that is not installed.
    """
    settings = effective_settings(config.performance, options.profile)
    given: dict[str, Any] = config.performance.overrides
    plan = PerformancePlan(config.name, device, settings, frozenset(given), memory=config.memory)
    if settings.attention:
        check_attention(settings.attention, config.name)
    if settings.cache and settings.cache.method != NO_CACHE:
        check_cache(settings.cache, config.name)
    if settings.compile != "off":
        check_backend(str(settings.compile_backend), config.name)
        _check_compile(plan)
        keep_compiled_code(options.cache_dir)
    return plan


def keep_compiled_code(cache_dir: str | None) -> None:
    """Let torch keep compiled code in a folder of ours; None leaves it to torch."""
    if cache_dir is not None:
        # Torch itself has set it by now, when it was imported; what the user sets is known to the server alone.
        os.environ[COMPILED_CODE_VARIABLE] = str(Path(cache_dir) / CACHE_FOLDER)


def _check_compile(plan: PerformancePlan) -> None:
    """See to it that a model may be compiled as the settings say, and leave out what of a profile may not."""
    settings, update = plan.settings, dict[str, Any]()
    if plan.memory == LAYER_BY_LAYER and plan.device != "cpu":
        plan.refuse("compile", f"with `memory: {plan.memory}` each layer moves by itself", ["off"])
        update["compile"] = "off"
    elif settings.compile_mode in GRAPH_MODES:
        modes = ["default", "max-autotune-no-cudagraphs"]
        if plan.memory != "full" and plan.device != "cpu":
            plan.refuse(
                "compile_mode", f"CUDA graphs need weights that stay, unlike with `memory: {plan.memory}`", modes
            )
            update["compile_mode"] = "default"
        elif not plan.on_cuda:
            plan.skip("compile_mode", f"there are no CUDA graphs on {plan.device}; code is compiled without them")
    plan.settings = settings.model_copy(update=update)
