"""Count the denoising steps of a call, and stop it between two of them.

That is done by the first of four means that a pipeline offers: the callback at the end of a step, the legacy callback, its
progress bar, or a hook before the forward pass of its denoiser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from typing_extensions import Self

from octabox.catalog.entries import ProgressBy

#: Called after each step with the number of steps taken, the total number (0 if unknown), and tensors by name.
OnStep = Callable[[int, int, Mapping[str, Any]], None]

#: Names of the timestep parameter of a denoiser's forward pass.
TIMESTEP_PARAMETERS = frozenset({"timestep", "timesteps", "sigma"})


class _CountingBar:
    """A progress bar that reports its updates."""

    def __init__(self, iterable: Iterable[Any] | None, total: int | None, report: Callable[[int], None]) -> None:
        self._iterable = iterable
        self._total = total or (len(iterable) if isinstance(iterable, Sized) else 0)
        self._report = report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        for item in () if self._iterable is None else self._iterable:
            yield item
            self.update()

    def __getattr__(self, _: str) -> Callable[..., None]:
        # The other methods of a progress bar (set_description, close, ...) do nothing.
        return lambda *_args, **_kwargs: None

    def update(self, _: int = 1) -> None:
        """Report one more step."""
        self._report(self._total)


class StepCallback:
    """Reports the steps of one call of a pipeline.

    Args:
        pipe: The pipeline.
        on_step: Called after each step; an exception that it raises ends the call.
        by: How the pipeline reports its steps, by the catalog.
    """

    def __init__(self, pipe: DiffusionPipeline, on_step: OnStep, by: ProgressBy) -> None:
        self._pipe, self._on_step, self._by = pipe, on_step, by
        self.taken = 0

    def call_arguments(self) -> dict[str, Any]:
        """Return the arguments for the pipeline's callback; none if it takes no callback."""
        if self._by == "callback_on_step_end":
            return {"callback_on_step_end": self._on_step_end}
        if self._by == "callback":
            has_interval = "callback_steps" in inspect.signature(type(self._pipe).__call__).parameters
            return {"callback": self._on_legacy_callback, **({"callback_steps": 1} if has_interval else {})}
        return {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Hook a pipeline that takes no callback within the context."""
        with ExitStack() as stack:
            if not self.call_arguments():
                owners = _find_progress_bar_owners(self._pipe)
                for owner in owners:
                    stack.enter_context(self._counting_bar(owner))
                if not owners:
                    for denoiser in find_denoisers(self._pipe):
                        stack.callback(denoiser.register_forward_pre_hook(self._before_forward).remove)
            yield

    @contextmanager
    def _counting_bar(self, owner: Any) -> Iterator[None]:
        def bar(iterable: Iterable[Any] | None = None, total: int | None = None, **_: object) -> _CountingBar:
            return _CountingBar(iterable, total, lambda steps: self._report(steps, {}))

        owner.progress_bar = bar
        try:
            yield
        finally:
            del owner.progress_bar

    def _report(self, total: int, tensors: Mapping[str, Any]) -> None:
        self.taken += 1
        self._on_step(self.taken, total, tensors)

    def _total(self, pipe: object = None) -> int:
        """Return the number of timesteps of this call, in the pipeline that takes the steps, which may be an inner one."""
        pipe = self._pipe if pipe is None else pipe
        num_timesteps = getattr(pipe, "num_timesteps", None)
        if isinstance(num_timesteps, int) and num_timesteps:
            return num_timesteps
        timesteps = getattr(getattr(pipe, "scheduler", None), "timesteps", None)
        return len(timesteps) if timesteps is not None else 0

    def _on_step_end(self, pipe: object, _step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        self._report(self._total(pipe), tensors)
        return tensors

    def _on_legacy_callback(self, _step: int, _timestep: object, latents: object) -> None:
        self._report(self._total(), {"latents": latents})

    def _before_forward(self, _module: object, _inputs: object) -> None:
        self._report(self._total(), {})


def _find_progress_bar_owners(pipe: Any) -> list[Any]:
    """Return the objects whose progress bar a pipeline's call uses: the pipeline, or its blocks that loop."""
    # The property `blocks` returns a copy, which the call does not use.
    blocks = getattr(pipe, "_blocks", None)
    if blocks is None:
        return [pipe] if "progress_bar" in _names_in_call(type(pipe)) else []
    owners, pending = [], [blocks]
    while pending:
        block = pending.pop()
        pending += list(getattr(block, "sub_blocks", {}).values())
        if hasattr(block, "progress_bar"):
            owners.append(block)
    return owners


def _names_in_call(cls: type[DiffusionPipeline]) -> set[str]:
    """Return the names that the source of a pipeline's call refers to."""
    call = inspect.unwrap(cls.__call__)
    return set(call.__code__.co_names)


def find_denoisers(pipe: Any) -> list[torch.nn.Module]:
    """Return the components whose forward pass takes a timestep."""
    modules = [part for part in getattr(pipe, "components", {}).values() if isinstance(part, torch.nn.Module)]
    return [module for module in modules if TIMESTEP_PARAMETERS & set(inspect.signature(module.forward).parameters)]
