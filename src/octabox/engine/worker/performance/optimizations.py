"""Apply performance settings to a loaded model, and keep them right from call to call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from octabox.config.performance import NO_CACHE
from octabox.engine.worker.performance.attention import NATIVE, is_lossy, set_attention
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
    """The performance settings of a loaded model, in effect.

    Args:
        plan: Its settings, and what became of them.
        fused: Modules whose projections are fused.
        caches: Its step caches, if any.
        compiler: What compiles it, if anything.
    """

    def __init__(
        self,
        plan: PerformancePlan | None = None,
        fused: Sequence[torch.nn.Module] = (),
        caches: StepCaches | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        self._plan, self._fused, self._caches, self._compiler = plan, list(fused), caches, compiler
        self._notes: list[str] = []

    @property
    def report(self) -> PerformanceReport:
        """What became of each setting."""
        plan = self._plan
        if plan is None:
            return PerformanceReport()
        return PerformanceReport(str(plan.settings.profile), dict(plan.applied), dict(plan.skipped), self.lossy)

    @property
    def lossy(self) -> bool:
        """Whether results differ visibly from those of diffusers itself."""
        return self._plan is not None and (
            bool(self._caches and self._caches.lossy) or is_lossy(self._plan.settings.attention)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What every answer must say: settings without effect, and whether results differ."""
        if self._plan is None:
            return ()
        by = self._plan.applied.get("cache") or self._plan.applied.get("attention")
        return (*self._plan.warnings, *([f"The performance settings are lossy: {by}."] if self.lossy else []))

    @property
    def facts(self) -> dict[str, Any]:
        """What the metadata of outputs say of it; nothing where results are those of diffusers itself."""
        if self._plan is None or not self._plan.applied:
            return {}
        given = self._plan.settings.model_dump(exclude_none=True)
        kept = {name: value for name, value in given.items() if name == "profile" or name in self._plan.given}
        return {"performance": kept}

    def prepare_adapters(
        self, adapters: Sequence[object], suspended: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Make the model ready for LoRAs: they change projections that fused ones were copied from.

        Args:
            adapters: The LoRAs of the next call.
            changing: Lets layers be taken out of the model within its context.
        """
        if adapters and self._fused:
            with suspended():
                split_projections(self._fused)
            self._fused.clear()
            assert self._plan is not None  # noqa: S101 (nothing is fused without one)
            self._plan.applied.pop("fuse_qkv", None)
            reason = "a LoRA was applied, which needs the projections one by one"
            self._plan.skipped["fuse_qkv"] = reason
            self._notes.append(f"Fused projections were undone: {reason}.")

    @contextmanager
    def running(self, pipe: Any, tell: Callable[[Progress], None]) -> Iterator[Callable[[Progress], None]]:
        """Watch calls of a pipeline; yield what is to be told of their progress, between which compilations are told."""
        last = Progress("running")

        def tell_on(progress: Progress) -> None:
            nonlocal last
            last = replace(progress, preview=None)
            tell(progress)

        with ExitStack() as stack:
            if self._compiler:
                stack.enter_context(self._compiler.watching(lambda: tell(replace(last, phase="compiling"))))
            if self._caches and (reason := stack.enter_context(self._caches.running(pipe))):
                self._notes.append(f"The step cache has no effect: {reason}.")
            yield tell_on

    def take_warnings(self) -> list[str]:
        """Return what has come up since the last call."""
        notes, self._notes = self._notes, []
        return notes + (self._compiler.take_warnings() if self._compiler else [])


def apply_layout(components: Mapping[str, Any], plan: PerformancePlan, *, adapted: bool) -> list[torch.nn.Module]:
    """Change how the weights of a model lie in memory, before anything moves them between devices.

    Args:
        components: All its components by name, those for other pipelines over it too.
        plan: The settings; what becomes of each is noted there.
        adapted: Whether the model has LoRAs or IP-Adapters of its own, which change its attention.

    Returns:
        The modules whose projections are fused.
    """
    modules = find_modules(components)
    if plan.settings.channels_last:
        changed = use_channels_last(modules)
        if changed:
            plan.applied["channels_last"] = ", ".join(changed)
        else:
            plan.skip("channels_last", "no component has convolutions over images")
    return _fuse(plan, modules, adapted=adapted) if plan.settings.fuse_qkv else []


def apply_performance(
    pipe: Any, components: Mapping[str, Any], plan: PerformancePlan, fused: Sequence[torch.nn.Module] = ()
) -> AppliedPerformance:
    """Apply performance settings to a model that is where it will run.

    Args:
        pipe: Its own pipeline.
        components: All its components by name, those for other pipelines over it too.
        plan: The settings; what becomes of each is noted there.
        fused: What `apply_layout` returned.

    Raises:
        LoadError: A setting that the configuration states is not possible for this model.
    """
    denoisers = find_denoisers(find_modules(components))
    set_torch_flags(plan)
    if plan.settings.attention:
        took = set_attention(plan.settings.attention, denoisers, plan.model, plan.device)
        plan.applied["attention"] = f"{plan.settings.attention} ({', '.join(took)})"
    return AppliedPerformance(plan, fused, _cache(plan, pipe, denoisers), _compile(plan, denoisers))


def _fuse(plan: PerformancePlan, modules: Mapping[str, torch.nn.Module], *, adapted: bool) -> list[torch.nn.Module]:
    """Fuse projections where nothing speaks against it."""
    if adapted:
        plan.skip("fuse_qkv", "LoRAs and IP-Adapters need the projections one by one")
    elif plan.settings.attention not in (None, NATIVE):
        plan.skip("fuse_qkv", f"the attention backend '{plan.settings.attention}' takes its place")
    else:
        fused, reasons = fuse_projections(modules)
        if fused:
            plan.applied["fuse_qkv"] = ", ".join(fused)
        elif reasons:
            plan.skip("fuse_qkv", "; ".join(reasons.values()))
        else:
            plan.skip("fuse_qkv", "no component offers it")
        return [modules[name] for name in fused]
    return []


def _cache(plan: PerformancePlan, pipe: Any, denoisers: Mapping[str, torch.nn.Module]) -> StepCaches | None:
    """Give the denoisers a step cache if the settings say so."""
    cache = plan.settings.cache
    if cache is None or cache.method == NO_CACHE:
        return None
    caches = StepCaches(pipe, denoisers)
    if reason := caches.enable(cache):
        plan.refuse("cache", reason, [NO_CACHE])
        # Whoever asks for a lossy profile must hear that it is none.
        plan.warnings.append(f"The profile '{plan.settings.profile}' has no step cache for this model: {reason}.")
        return None
    budget = "" if cache.budget is None else f" up to a change of {cache.budget:g}"
    plan.applied["cache"] = f"steps are left out by {caches.method}{budget}"
    return caches


def _compile(plan: PerformancePlan, denoisers: Mapping[str, torch.nn.Module]) -> Compiler | None:
    """Compile the denoisers if the settings say so."""
    settings = plan.settings
    if settings.compile == "off":
        return None
    if not denoisers:
        plan.skip("compile", "it has no denoiser")
        return None
    compiler = Compiler(settings, plan.device)
    plan.applied["compile"] = f"{compile_denoisers(compiler, denoisers)} by {settings.compile_backend}"
    if settings.compile_mode != "default" and "compile_mode" not in plan.skipped:
        plan.applied["compile_mode"] = str(settings.compile_mode)
    return compiler
