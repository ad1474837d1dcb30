"""Step caches, which reuse a denoiser's results in later steps: those of diffusers and of cache-dit."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from types import CodeType, FunctionType
from typing import Any

import torch
from diffusers import hooks
from diffusers.hooks import HookRegistry
from diffusers.models.cache_utils import CacheMixin

from octabox.config.performance import AUTO_CACHE, CacheConfig
from octabox.errors import LoadError, MissingDependencyError, nearest

#: The cache of the package cache-dit, and its module.
CACHE_DIT, CACHE_DIT_MODULE = "cache_dit", "cache_dit"

#: The cache that ``auto`` tries first; it measures the change in each step and needs no calibration.
FIRST_CHOICE = "first_block_cache"

#: Caches of values that do not change between steps, so that results are the same.
LOSSLESS = frozenset({"text_kv_cache"})

#: Settings of caches for the largest change at which a step is skipped.
BUDGETS = ("threshold", "residual_diff_threshold")

#: The setting with a callback for the current timestep, and the context by which pipelines separate denoising calls.
TIMESTEP_CALLBACK, CONTEXT = "current_timestep_callback", "cache_context"


def cache_classes() -> dict[str, Any]:
    """Return diffusers' cache configuration classes by name."""
    names = CacheMixin.enable_cache.__code__.co_varnames
    found = {name.removesuffix("Config"): getattr(hooks, name, None) for name in names if name.endswith("Config")}
    return {_snake_case(name): each for name, each in found.items() if each is not None}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_cache(cache: CacheConfig, model: str) -> None:
    """Check the name and settings of a step cache.

    Raises:
        LoadError: There is no such cache, or it has no such setting.
        MissingDependencyError: It needs a package that is not installed.
    """
    classes = cache_classes()
    if cache.method == AUTO_CACHE:
        return
    if cache.method == CACHE_DIT:
        if importlib.util.find_spec(CACHE_DIT_MODULE) is None:
            raise MissingDependencyError(
                f"Model '{model}' uses the step cache '{CACHE_DIT}', which is not installed.",
                hint="Run `pip install cache-dit`.",
                model=model,
                parameter="performance.cache",
                choices=classes,
            )
        return
    if cache.method not in classes:
        choices = [AUTO_CACHE, CACHE_DIT, *classes]
        similar = nearest(cache.method, choices, count=1)
        hint = f"Did you mean '{similar[0]}'?" if similar else f"Available caches: {', '.join(choices)}."
        message = f"Model '{model}': there is no step cache '{cache.method}'."
        raise LoadError(message, hint=hint, model=model, parameter="performance.cache", choices=choices)
    known = [field.name for field in fields(classes[cache.method]) if not field.name.endswith("_callback")]
    unknown = sorted(set(cache.settings) - set(known))
    if unknown or (cache.budget is not None and not set(BUDGETS) & set(known)):
        missing = f"setting '{unknown[0]}'" if unknown else "budget: it measures no change"
        raise LoadError(
            f"Model '{model}': the step cache '{cache.method}' has no {missing}.",
            hint=f"Its settings are: {', '.join(known)}.",
            model=model,
            parameter="performance.cache",
            choices=known,
        )


class StepCaches:
    """The step caches of one model's denoisers.

    Args:
        pipe: The model's pipeline.
        denoisers: Its denoisers by name.
    """

    def __init__(self, pipe: Any, denoisers: Mapping[str, torch.nn.Module]) -> None:
        self._pipe, self._denoisers = pipe, denoisers
        self._running = pipe
        self._enabled: dict[str, tuple[Any, Any]] = {}
        self.method = ""
        self._needs_context = False

    @property
    def lossy(self) -> bool:
        """Whether results differ visibly."""
        return bool(self.method) and self.method not in LOSSLESS

    def enable(self, cache: CacheConfig) -> str:
        """Enable a step cache in the denoisers; return the reason if that is not possible, else an empty string."""
        reasons = []
        for method in (FIRST_CHOICE, CACHE_DIT) if cache.method == AUTO_CACHE else (cache.method,):
            is_cache_dit = method == CACHE_DIT
            reason = self._enable_cache_dit(cache) if is_cache_dit else self._enable_diffusers_cache(method, cache)
            if not reason:
                self.method = method
                return ""
            reasons.append(f"{method}: {reason}")
        return "; ".join(reasons)

    @contextmanager
    def running(self, pipe: Any) -> Iterator[str]:
        """Reset the caches for calls of a pipeline within the context; yield the reason if they are disabled meanwhile."""
        self._running = pipe
        reason = self._context_reason(pipe) if self._enabled and self._needs_context else ""
        try:
            for module, _ in self._enabled.values():
                # An interrupted call leaves its cached values.
                module._reset_stateful_cache()  # noqa: SLF001 (there is no public method)
                if reason:
                    module.disable_cache()
            yield reason
        finally:
            self._running = self._pipe
            for module, config in self._enabled.values() if reason else ():
                module.enable_cache(config)

    def _enable_diffusers_cache(self, method: str, cache: CacheConfig) -> str:
        """Enable a cache of diffusers in all denoisers that support one."""
        supported = {name: module for name, module in self._denoisers.items() if isinstance(module, CacheMixin)}
        if not supported:
            return f"{', '.join(self._denoisers) or 'the model'} does not support step caches"
        try:
            for name, module in supported.items():
                # Recorded first, since a failure leaves hooks that have to be removed.
                self._enabled[name] = (module, self._build_config(method, cache))
                module.enable_cache(self._enabled[name][1])
        except Exception as error:  # noqa: BLE001 (caches raise any exception on blocks that they do not support)
            self._disable()
            return " ".join(str(error).split()) or type(error).__name__
        self._needs_context = any(_has_call_state(module) for module, _ in self._enabled.values())
        reason = self._context_reason(self._pipe) if self._needs_context else ""
        if reason:
            self._disable()
        return reason

    def _build_config(self, method: str, cache: CacheConfig) -> Any:
        cls = cache_classes()[method]
        names = {field.name for field in fields(cls)}
        settings: dict[str, Any] = {
            name: cache.budget for name in BUDGETS if name in names and cache.budget is not None
        }
        if TIMESTEP_CALLBACK in names:
            settings[TIMESTEP_CALLBACK] = lambda: self._running.current_timestep
        return cls(**{**settings, **cache.settings})

    def _disable(self) -> None:
        for module, config in self._enabled.values():
            module._cache_config = config  # noqa: SLF001 (diffusers sets it only on success)
            module.disable_cache()
        self._enabled.clear()

    def _context_reason(self, pipe: Any) -> str:
        """Return the reason if a pipeline does not separate its denoising calls for a cache, else an empty string."""
        if _uses_name(pipe, CONTEXT):
            return ""
        return f"{type(pipe).__name__} does not separate its denoising calls (no {CONTEXT})"

    def _enable_cache_dit(self, cache: CacheConfig) -> str:
        """Enable cache-dit in the pipeline."""
        if importlib.util.find_spec(CACHE_DIT_MODULE) is None:
            return "it is not installed (pip install cache-dit)"
        import cache_dit  # noqa: PLC0415 (an optional dependency)

        # One block decides, as in the first block cache; the default of eight is too many for small models.
        settings = {"Fn_compute_blocks": 1} | ({} if cache.budget is None else {BUDGETS[-1]: cache.budget})
        try:
            cache_dit.enable_cache(self._pipe, cache_config=cache_dit.DBCacheConfig(**settings | cache.settings))
        except Exception as error:  # noqa: BLE001 (it raises any exception on classes that it does not support)
            return " ".join(str(error).split()) or type(error).__name__
        return ""


def _has_call_state(module: torch.nn.Module) -> bool:
    """Return whether hooks of a module keep separate state for each denoising call."""
    registries = [getattr(each, "_diffusers_hook", None) for each in module.modules()]
    return any(
        hasattr(hook, "state_manager")
        for registry in registries
        if isinstance(registry, HookRegistry)
        for hook in registry.hooks.values()
    )


def _uses_name(pipe: Any, name: str) -> bool:
    """Return whether the code of a pipeline, or of its blocks, uses a name."""
    pending, classes = [pipe], list[type]()
    while pending:
        each = pending.pop()
        blocks = getattr(each, "_blocks", None)
        pending += [] if blocks is None else [blocks]
        pending += list(getattr(each, "sub_blocks", {}).values())
        classes += type(each).__mro__
    attributes = [value for cls in dict.fromkeys(classes) for value in vars(cls).values()]
    return any(name in _names_in(function) for function in map(_unwrap, attributes) if function)


def _unwrap(value: object) -> FunctionType | None:
    """Return the function of a method without its decorators."""
    value = getattr(value, "__func__", value)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, FunctionType) else None


def _names_in(function: FunctionType) -> set[str]:
    """Return the names that a function and its nested functions use."""
    names, pending = set[str](), [function.__code__]
    while pending:
        code = pending.pop()
        names |= set(code.co_names)
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]
    return names
