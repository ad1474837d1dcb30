"""Apply performance settings to a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from octabox.config.performance import NO_CACHE
from octabox.engine.worker.performance.attention import NATIVE, is_lossy, set_attention
from octabox.engine.worker.performance.attention_report import AttentionReport
from octabox.engine.worker.performance.caches import StepCaches
from octabox.engine.worker.performance.compiler import Compiler, compile_denoisers
from octabox.engine.worker.performance.layout import (
    fuse_projections,
    split_projections,
    use_channels_last,
)
from octabox.engine.worker.performance.modules import find_denoisers, find_modules
from octabox.engine.worker.performance.plan import PerformancePlan
from octabox.engine.worker.performance.torch_flags import set_torch_flags
from octabox.types import PerformanceReport, Progress


class AppliedPerformance:
    """The performance settings in effect for a loaded model.

    Args:
        plan: The settings and whether each is applied.
        fused: Modules with fused projections.
        caches: The model's step caches, if any.
        compiler: The compiler of its denoisers, if any.
        denoisers: Its denoisers by name.
    """

    def __init__(
        self,
        plan: PerformancePlan | None = None,
        fused: Sequence[torch.nn.Module] = (),
        caches: StepCaches | None = None,
        compiler: Compiler | None = None,
        denoisers: Mapping[str, torch.nn.Module] | None = None,
    ) -> None:
        self._plan, self._fused, self._caches, self._compiler = plan, list(fused), caches, compiler
        self._notes: list[str] = []
        self._attention_report = AttentionReport(denoisers or {})
        self._attention = self._attention_report.describe()

    @property
    def report(self) -> PerformanceReport:
        """Which settings are applied and which are skipped."""
        plan = self._plan
        if plan is None:
            return PerformanceReport()
        profile, applied, skipped = str(plan.settings.profile), dict(plan.applied), dict(plan.skipped)
        if self._compiler and self._compiler.failure:
            applied.pop("compile", None)
            skipped["compile"] = f"the compilation failed: {self._compiler.failure}"
        elif self._compiler and (breaks := self._compiler.graph_breaks):
            applied["compile"] += f"; graph breaks ({len(breaks)}), which cost speed: {'; '.join(breaks)}"
        return PerformanceReport(profile, applied, skipped, self.lossy, self._attention)

    @property
    def lossy(self) -> bool:
        """Whether results differ visibly from those of plain diffusers."""
        return self._plan is not None and (
            bool(self._caches and self._caches.lossy) or is_lossy(self._plan.settings.attention)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for every response: settings without effect, and whether results are lossy."""
        if self._plan is None:
            return ()
        cause = self._plan.applied.get("cache") or self._plan.applied.get("attention")
        return (*self._plan.warnings, *([f"The performance settings are lossy: {cause}."] if self.lossy else []))

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata for outputs: the attention of the last call, and the settings if any is applied."""
        attention = {"attention": dict(self._attention)} if self._attention else {}
        if self._plan is None or not self._plan.applied:
            return attention
        settings = self._plan.settings.model_dump(exclude_none=True)
        kept = {name: value for name, value in settings.items() if name == "profile" or name in self._plan.overrides}
        return {**attention, "performance": kept}

    def observe_attention(self) -> None:
        """Record the attention of the next call, of which IP-Adapters replace processors."""
        self._attention = self._attention_report.describe()

    def prepare_adapters(
        self, adapters: Sequence[object], suspended: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Undo fused projections before LoRAs are applied, which change the separate projections.

        Args:
            adapters: The LoRAs of the next call.
            suspended: Context in which layers can be removed from the model.
        """
        if adapters and self._fused:
            with suspended():
                split_projections(self._fused)
            self._fused.clear()
            assert self._plan is not None  # noqa: S101 (nothing is fused without a plan)
            self._plan.applied.pop("fuse_qkv", None)
            reason = "a LoRA was applied, which needs separate projections"
            self._plan.skipped["fuse_qkv"] = reason
            self._notes.append(f"Fused projections were undone: {reason}.")

    @contextmanager
    def running(self, pipe: Any, publish: Callable[[Progress], None]) -> Iterator[Callable[[Progress], None]]:
        """Run calls of a pipeline within the context; yield the function to report progress to.

        Args:
            pipe: The pipeline.
            publish: Receives the reported progress, and the progress of compilations.
        """
        last = Progress("running")

        def report_progress(progress: Progress) -> None:
            nonlocal last
            last = replace(progress, preview=None)
            publish(progress)

        with ExitStack() as stack:
            if self._compiler:
                stack.enter_context(self._compiler.watch(lambda: publish(replace(last, phase="compiling"))))
            if self._caches and (reason := stack.enter_context(self._caches.running(pipe))):
                self._notes.append(f"The step cache has no effect: {reason}.")
            yield report_progress

    def add_warning(self, text: str) -> None:
        """Add a warning to the next response."""
        self._notes.append(text)

    @property
    def compiles(self) -> bool:
        """Whether denoisers are compiled."""
        return self._compiler is not None

    def take_warnings(self) -> list[str]:
        """Return and clear the warnings since the last call."""
        notes, self._notes = self._notes, []
        return notes + (self._compiler.take_warnings() if self._compiler else [])


def apply_layout(components: Mapping[str, Any], plan: PerformancePlan, *, adapted: bool) -> list[torch.nn.Module]:
    """Change the memory layout of a model's weights and fuse projections, before offloading is installed.

    Args:
        components: All components of the model by name, those for sibling pipelines included.
        plan: The settings; records which are applied.
        adapted: Whether the configuration has LoRAs or IP-Adapters, which change the attention.

    Returns:
        The modules with fused projections.
    """
    modules = find_modules(components)
    if plan.settings.channels_last:
        changed = use_channels_last(modules)
        if changed:
            plan.applied["channels_last"] = ", ".join(changed)
        else:
            plan.skip("channels_last", "no component has two-dimensional convolutions")
    return _fuse(plan, modules, adapted=adapted) if plan.settings.fuse_qkv else []


def apply_performance(
    pipe: Any, components: Mapping[str, Any], plan: PerformancePlan, fused: Sequence[torch.nn.Module] = ()
) -> AppliedPerformance:
    """Apply performance settings to a model that is placed on its device.

    Args:
        pipe: The model's pipeline.
        components: All components by name, those for sibling pipelines included.
        plan: The settings; records which are applied.
        fused: The modules that `apply_layout` returned.

    Raises:
        LoadError: A setting in the configuration is not possible for this model.
    """
    denoisers = find_denoisers(find_modules(components))
    set_torch_flags(plan)
    if plan.settings.attention:
        names = set_attention(plan.settings.attention, denoisers, plan.model, plan.device)
        plan.applied["attention"] = f"{plan.settings.attention} ({', '.join(names)})"
    caches, compiler = _enable_cache(plan, pipe, denoisers), _compile(plan, denoisers)
    return AppliedPerformance(plan, fused, caches, compiler, denoisers)


def _fuse(plan: PerformancePlan, modules: Mapping[str, torch.nn.Module], *, adapted: bool) -> list[torch.nn.Module]:
    """Fuse projections unless adapters or the attention backend prevent it."""
    if adapted:
        plan.skip("fuse_qkv", "LoRAs and IP-Adapters need separate projections")
    elif plan.settings.attention not in (None, NATIVE):
        plan.skip("fuse_qkv", f"the attention backend '{plan.settings.attention}' is used instead")
    else:
        fused, reasons = fuse_projections(modules)
        if fused:
            plan.applied["fuse_qkv"] = ", ".join(fused)
        elif reasons:
            plan.skip("fuse_qkv", "; ".join(reasons.values()))
        else:
            plan.skip("fuse_qkv", "no component supports it")
        return [modules[name] for name in fused]
    return []


def _enable_cache(plan: PerformancePlan, pipe: Any, denoisers: Mapping[str, torch.nn.Module]) -> StepCaches | None:
    """Enable a step cache in the denoisers if the settings have one."""
    cache = plan.settings.cache
    if cache is None or cache.method == NO_CACHE:
        return None
    caches = StepCaches(pipe, denoisers)
    if reason := caches.enable(cache):
        plan.refuse("cache", reason, [NO_CACHE])
        # A user of a lossy profile expects its speed.
        plan.warnings.append(f"The profile '{plan.settings.profile}' has no step cache for this model: {reason}.")
        return None
    budget = "" if cache.budget is None else f" up to a change of {cache.budget:g}"
    plan.applied["cache"] = f"steps are skipped by {caches.method}{budget}"
    return caches


def _compile(plan: PerformancePlan, denoisers: Mapping[str, torch.nn.Module]) -> Compiler | None:
    """Compile the denoisers if the settings enable it."""
    settings = plan.settings
    if settings.compile == "off":
        return None
    if not denoisers:
        plan.skip("compile", "the model has no denoiser")
        return None
    compiler = Compiler(settings, plan.device)
    plan.applied["compile"] = f"{compile_denoisers(compiler, denoisers)} by {settings.compile_backend}"
    if settings.compile_mode != "default" and "compile_mode" not in plan.skipped:
        plan.applied["compile_mode"] = str(settings.compile_mode)
    return compiler
