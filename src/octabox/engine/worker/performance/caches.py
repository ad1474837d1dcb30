"""Step caches: what a denoiser computed in one step is used again in the next ones, by diffusers' hooks or by cache-dit."""

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

#: The cache of the package cache-dit, and the package.
CACHE_DIT, CACHE_DIT_MODULE = "cache_dit", "cache_dit"

#: The cache that ``auto`` takes where it can: it decides in each step by what it measures, and needs no calibration.
FIRST_CHOICE = "first_block_cache"

#: Caches that keep what does not change from step to step, so that no result differs.
LOSSLESS = frozenset({"text_kv_cache"})

#: What caches call the change up to which a step is left out.
BUDGETS = ("threshold", "residual_diff_threshold")

#: What a cache asks which timestep is computed, and by what a pipeline names its denoising calls.
TIMESTEP_CALLBACK, CONTEXT = "current_timestep_callback", "cache_context"


def cache_classes() -> dict[str, Any]:
    """Return the configurations of caches that diffusers' denoisers take, by name."""
    names = CacheMixin.enable_cache.__code__.co_varnames
    found = {name.removesuffix("Config"): getattr(hooks, name, None) for name in names if name.endswith("Config")}
    return {_snake_case(name): each for name, each in found.items() if each is not None}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_cache(cache: CacheConfig, model: str) -> None:
    """Make sure that there is a step cache as a configuration says.

    Raises:
        LoadError: There is none of this name, or it has no such setting.
        MissingDependencyError: It needs a package that is not installed.
    """
    classes = cache_classes()
    if cache.method == AUTO_CACHE:
        return
    if cache.method == CACHE_DIT:
        if importlib.util.find_spec(CACHE_DIT_MODULE) is None:
            raise MissingDependencyError(
                f"Model '{model}' asks for the step cache '{CACHE_DIT}', which is not installed.",
                hint="Run `pip install cache-dit`.",
                model=model,
                parameter="performance.cache",
                choices=classes,
            )
        return
    if cache.method not in classes:
        choices = [AUTO_CACHE, CACHE_DIT, *classes]
        like = nearest(cache.method, choices, count=1)
        hint = f"Did you mean '{like[0]}'?" if like else f"There are: {', '.join(choices)}."
        message = f"Model '{model}': there is no step cache '{cache.method}'."
        raise LoadError(message, hint=hint, model=model, parameter="performance.cache", choices=choices)
    known = [field.name for field in fields(classes[cache.method]) if not field.name.endswith("_callback")]
    unknown = sorted(set(cache.settings) - set(known))
    if unknown or (cache.budget is not None and not set(BUDGETS) & set(known)):
        wrong = f"setting '{unknown[0]}'" if unknown else "budget: it measures no change"
        raise LoadError(
            f"Model '{model}': the step cache '{cache.method}' has no {wrong}.",
            hint=f"Its settings are: {', '.join(known)}.",
            model=model,
            parameter="performance.cache",
            choices=known,
        )


class StepCaches:
    """The step caches of one model's denoisers.

    Args:
        pipe: The model's own pipeline.
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
        """Give the denoisers a step cache; return why that cannot be, nothing where it was done."""
        reasons = []
        for method in (FIRST_CHOICE, CACHE_DIT) if cache.method == AUTO_CACHE else (cache.method,):
            reason = self._enable_cache_dit(cache) if method == CACHE_DIT else self._enable_own(method, cache)
            if not reason:
                self.method = method
                return ""
            reasons.append(f"{method}: {reason}")
        return "; ".join(reasons)

    @contextmanager
    def running(self, pipe: Any) -> Iterator[str]:
        """Make the caches ready for calls of a pipeline over the denoisers; yield why they are left out, if they are."""
        self._running = pipe
        reason = self._context_reason(pipe) if self._enabled and self._needs_context else ""
        try:
            for module, _ in self._enabled.values():
                # A call that was ended before its end has left what it kept.
                module._reset_stateful_cache()  # noqa: SLF001 (diffusers has no other way)
                if reason:
                    module.disable_cache()
            yield reason
        finally:
            self._running = self._pipe
            for module, config in self._enabled.values() if reason else ():
                module.enable_cache(config)

    def _enable_own(self, method: str, cache: CacheConfig) -> str:
        """Enable a cache of diffusers in all denoisers that take one."""
        able = {name: module for name, module in self._denoisers.items() if isinstance(module, CacheMixin)}
        if not able:
            return f"{', '.join(self._denoisers) or 'nothing in it'} takes no step cache"
        try:
            for name, module in able.items():
                # Kept before it is used: a failure leaves hooks behind, and they are taken out by it.
                self._enabled[name] = (module, self._configuration(method, cache))
                module.enable_cache(self._enabled[name][1])
        except Exception as error:  # noqa: BLE001 (each cache fails in its own way on blocks that it does not know)
            self._disable()
            return " ".join(str(error).split()) or type(error).__name__
        self._needs_context = any(_keeps_states(module) for module, _ in self._enabled.values())
        reason = self._context_reason(self._pipe) if self._needs_context else ""
        if reason:
            self._disable()
        return reason

    def _configuration(self, method: str, cache: CacheConfig) -> Any:
        kind = cache_classes()[method]
        names = {field.name for field in fields(kind)}
        settings: dict[str, Any] = {
            name: cache.budget for name in BUDGETS if name in names and cache.budget is not None
        }
        if TIMESTEP_CALLBACK in names:
            settings[TIMESTEP_CALLBACK] = lambda: self._running.current_timestep
        return kind(**{**settings, **cache.settings})

    def _disable(self) -> None:
        for module, config in self._enabled.values():
            module._cache_config = config  # noqa: SLF001 (it is set only once all went well)
            module.disable_cache()
        self._enabled.clear()

    def _context_reason(self, pipe: Any) -> str:
        """Return why a pipeline's calls cannot be told apart by a cache; nothing where they can."""
        if _mentions(pipe, CONTEXT):
            return ""
        return f"{type(pipe).__name__} does not tell its denoising calls apart (no {CONTEXT})"

    def _enable_cache_dit(self, cache: CacheConfig) -> str:
        """Enable cache-dit's cache in the pipeline."""
        if importlib.util.find_spec(CACHE_DIT_MODULE) is None:
            return "it is not installed (pip install cache-dit)"
        import cache_dit  # noqa: PLC0415 (an extra)

        # As the first block cache does, one block decides; it takes eight else, which small models do not have.
        settings = {"Fn_compute_blocks": 1} | ({} if cache.budget is None else {BUDGETS[-1]: cache.budget})
        try:
            cache_dit.enable_cache(self._pipe, cache_config=cache_dit.DBCacheConfig(**settings | cache.settings))
        except Exception as error:  # noqa: BLE001 (it knows some classes, and fails in its own ways on others)
            return " ".join(str(error).split()) or type(error).__name__
        return ""


def _keeps_states(module: torch.nn.Module) -> bool:
    """Return whether hooks of a module keep what they compute for each denoising call apart."""
    registries = [getattr(each, "_diffusers_hook", None) for each in module.modules()]
    return any(
        hasattr(hook, "state_manager")
        for registry in registries
        if isinstance(registry, HookRegistry)
        for hook in registry.hooks.values()
    )


def _mentions(pipe: Any, name: str) -> bool:
    """Return whether the code of a pipeline, or of its blocks, uses a name."""
    waiting, seen = [pipe], list[type]()
    while waiting:
        thing = waiting.pop()
        blocks = getattr(thing, "_blocks", None)
        waiting += [] if blocks is None else [blocks]
        waiting += list(getattr(thing, "sub_blocks", {}).values())
        seen += type(thing).__mro__
    functions = [each for kind in dict.fromkeys(seen) for each in vars(kind).values()]
    return any(name in _names_in(function) for function in map(_unwrapped, functions) if function)


def _unwrapped(value: object) -> FunctionType | None:
    """Return the function behind a method, decorated or not."""
    value = getattr(value, "__func__", value)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, FunctionType) else None


def _names_in(function: FunctionType) -> set[str]:
    """Return the names that a function and those inside it use."""
    names, waiting = set[str](), [function.__code__]
    while waiting:
        code = waiting.pop()
        names |= set(code.co_names)
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
    return names
