"""Count the denoising steps of a call and stop it between two of them.

A pipeline offers one of four places for that, and the first that it has is taken: the callback at the end of a step, the older
callback, its progress bar, or a hook before its denoiser's forward pass.
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

#: Called after each step with the number of steps taken, the number there will be (0: not known), and tensors by name.
OnStep = Callable[[int, int, Mapping[str, Any]], None]

#: Parameter of a denoiser's forward pass that says how noisy its input is.
TIME_PARAMETERS = frozenset({"timestep", "timesteps", "sigma"})


class _CountingBar:
    """Stands in for a pipeline's progress bar and reports its updates."""

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
        # Whatever else a progress bar can do (set_description, close, ...) has nothing to show here.
        return lambda *_args, **_kwargs: None

    def update(self, _: int = 1) -> None:
        """Report one more step."""
        self._report(self._total)


class StepCallback:
    """Watches one call of a pipeline.

    Args:
        pipe: The pipeline.
        on_step: Called after each step; what it raises ends the call at once.
        by: Which of its places the catalog says is to be used.
    """

    def __init__(self, pipe: DiffusionPipeline, on_step: OnStep, by: ProgressBy) -> None:
        self._pipe, self._on_step, self._by = pipe, on_step, by
        self.taken = 0

    def call_arguments(self) -> dict[str, Any]:
        """Return the arguments that make the pipeline report its steps; none where it takes no callback."""
        if self._by == "callback_on_step_end":
            return {"callback_on_step_end": self._step_end}
        if self._by == "callback":
            counted = "callback_steps" in inspect.signature(type(self._pipe).__call__).parameters
            return {"callback": self._legacy, **({"callback_steps": 1} if counted else {})}
        return {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch by other means, while this lasts, a pipeline that takes no callback."""
        with ExitStack() as stack:
            if not self.call_arguments():
                owners = _bar_owners(self._pipe)
                for owner in owners:
                    stack.enter_context(self._counting_bar(owner))
                if not owners:
                    for denoiser in _denoisers(self._pipe):
                        stack.callback(denoiser.register_forward_pre_hook(self._before_forward).remove)
            yield

    @contextmanager
    def _counting_bar(self, owner: Any) -> Iterator[None]:
        def bar(iterable: Iterable[Any] | None = None, total: int | None = None, **_: object) -> _CountingBar:
            return _CountingBar(iterable, total, lambda steps: self._step(steps, {}))

        owner.progress_bar = bar
        try:
            yield
        finally:
            del owner.progress_bar

    def _step(self, total: int, tensors: Mapping[str, Any]) -> None:
        self.taken += 1
        self._on_step(self.taken, total, tensors)

    def _total(self) -> int:
        """Return the number of timesteps that this call really takes."""
        told = getattr(self._pipe, "num_timesteps", None)
        if isinstance(told, int) and told:
            return told
        timesteps = getattr(getattr(self._pipe, "scheduler", None), "timesteps", None)
        return len(timesteps) if timesteps is not None else 0

    def _step_end(self, _pipe: object, _step: int, _timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        self._step(self._total(), tensors)
        return tensors

    def _legacy(self, _step: int, _timestep: object, latents: object) -> None:
        self._step(self._total(), {"latents": latents})

    def _before_forward(self, _module: object, _inputs: object) -> None:
        self._step(self._total(), {})


def _bar_owners(pipe: Any) -> list[Any]:
    """Return what draws the progress bars of a pipeline's call: itself, or those of its blocks that loop."""
    # The property `blocks` returns a copy, which the call does not run.
    blocks = getattr(pipe, "_blocks", None)
    if blocks is None:
        return [pipe] if "progress_bar" in _source_names(type(pipe)) else []
    owners, waiting = [], [blocks]
    while waiting:
        block = waiting.pop()
        waiting += list(getattr(block, "sub_blocks", {}).values())
        if hasattr(block, "progress_bar"):
            owners.append(block)
    return owners


def _source_names(kind: type[DiffusionPipeline]) -> set[str]:
    """Return the names that a pipeline's call uses."""
    call = inspect.unwrap(kind.__call__)
    return set(call.__code__.co_names)


def _denoisers(pipe: DiffusionPipeline) -> list[torch.nn.Module]:
    """Return the components whose forward pass is told how noisy its input is."""
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    return [module for module in modules if TIME_PARAMETERS & set(inspect.signature(module.forward).parameters)]
