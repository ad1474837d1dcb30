"""Compile a model's denoisers by torch's compiler, and go back to running them as they are where that fails."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo
from torch._dynamo.callback import callback_handler
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters
from torch.utils import _pytree

from octabox.config.performance import GRAPH_MODES, PerformanceConfig
from octabox.errors import LoadError

logger = logging.getLogger("octabox.performance")

#: Share of a module's weights from which on its repeated blocks alone are worth compiling.
MOST_OF_IT = 0.5

#: Compilations of one function for each kind of block, before further ones run as they are.
MAX_VARIANTS = 8

#: Longest part of a message of the compiler that is passed on.
MAX_LENGTH = 300

#: What the compiler logs to.
LOGGERS = ("torch._dynamo", "torch._inductor")


def check_backend(name: str, model: str) -> None:
    """Make sure that torch's compiler has a backend of this name.

    Raises:
        LoadError: It has not.
    """
    known = torch._dynamo.list_backends(exclude_tags=())  # noqa: SLF001 (torch documents it by this name)
    if name not in known:
        raise LoadError(
            f"Model '{model}': torch's compiler has no backend '{name}' here.",
            hint=f"It has: {', '.join(known)}.",
            model=model,
            parameter="performance.compile_backend",
            choices=known,
        )


class Compiler:
    """Compiles modules of one model, and watches what becomes of that.

    Args:
        settings: How to compile.
        device: Where the modules compute, wherever their weights wait meanwhile.
    """

    def __init__(self, settings: PerformanceConfig, device: str = "cpu") -> None:
        self._settings, self._device = settings, device
        self._graphs = settings.compile_mode in GRAPH_MODES
        self._modules: list[Any] = []
        self._reported: set[str] = set()
        self._messages: list[str] = []
        self._on_compile: Callable[[], None] = lambda: None
        self._began = 0.0
        self.failure = ""
        self.compilations = 0

    def compile(self, name: str, module: Any) -> str:
        """Compile a module, or the blocks that it repeats; the work is done in its first call.

        Returns:
            What is compiled, in words.
        """
        settings, how = self._settings, self._choose(module)
        options: dict[str, Any] = {"backend": settings.compile_backend, "dynamic": settings.compile_dynamic}
        if settings.compile_mode != "default":
            options["mode"] = settings.compile_mode
        if how == "regional":
            module.compile_repeated_blocks(**options)
            parts = [each for each in module.modules() if each._compiled_call_impl is not None]  # noqa: SLF001
        else:
            module.compile(**options)
            parts = [module]
        for part in parts:
            self._guard(part)
        self._modules += parts
        self._raise_limit()
        return f"{name} ({'its repeated blocks' if how == 'regional' else 'the whole of it'})"

    @contextmanager
    def watching(self, on_compile: Callable[[], None]) -> Iterator[None]:
        """Within the context, call a function whenever a compilation begins, and collect what the compiler logs."""
        handler = _Collector(self._messages)
        self._on_compile = on_compile
        callback_handler.register_start_callback(self._start)
        callback_handler.register_end_callback(self._end)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(self._start)
            callback_handler.remove_end_callback(self._end)
            for name in LOGGERS:
                logging.getLogger(name).removeHandler(handler)
            self._on_compile = lambda: None

    def take_warnings(self) -> list[str]:
        """Return what has come up since the last time, each thing once; what only costs speed is logged."""
        for reason in counters["graph_break"]:
            self._report(f"The compiled model runs in pieces: {_shorten(reason)}")
        found = [f"torch's compiler: {text}" for text in self._messages]
        if self.failure:
            found.append(f"The model could not be compiled, and runs as it is: {self.failure}")
        self._messages.clear()
        return [text for text in found if self._report(text)]

    def _report(self, text: str) -> bool:
        """Log something that has not been logged before; return whether it is new."""
        new = text not in self._reported
        self._reported.add(text)
        if new:
            logger.warning("%s", text)
        return new

    def _choose(self, module: Any) -> str:
        """Return whether a module is compiled by its repeated blocks (``regional``) or as a whole."""
        names = getattr(module, "_repeated_blocks", None) or ()
        blocks = [each for each in module.modules() if type(each).__name__ in names]
        if not blocks or self._graphs or self._settings.compile == "whole":
            return "whole"
        if self._settings.compile == "regional" or self._device == "cpu":
            return "regional"
        inside = {id(weight): weight.numel() for block in blocks for weight in block.parameters()}
        return (
            "regional" if sum(inside.values()) >= MOST_OF_IT * sum(p.numel() for p in module.parameters()) else "whole"
        )

    def _guard(self, module: Any) -> None:
        """Let a compiled module run as it is once a compilation has failed."""
        compiled, plain = module._compiled_call_impl, module._call_impl  # noqa: SLF001 (torch calls it by this name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.failure:
                return plain(*args, **kwargs)
            try:
                if not self._graphs:
                    return compiled(*args, **kwargs)
                # What a recorded graph returns lies where its next run writes.
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                return _pytree.tree_map_only(torch.Tensor, torch.Tensor.clone, compiled(*args, **kwargs))
            except TorchDynamoException as error:
                self.failure = _shorten(str(error)) or type(error).__name__
                logger.debug("the compilation failed", exc_info=error)
                return plain(*args, **kwargs)

        module._compiled_call_impl = call  # noqa: SLF001 (as above)

    def _raise_limit(self) -> None:
        """Allow as many compilations as there are kinds of blocks, each for some sizes."""
        kinds = {(type(each), tuple(weight.shape for weight in each.parameters())) for each in self._modules}
        config: Any = torch._dynamo.config  # noqa: SLF001 (torch documents it by this name)
        config.recompile_limit = MAX_VARIANTS * len(kinds)

    def _start(self, _: object) -> None:
        self._began = time.perf_counter()
        self._on_compile()

    def _end(self, _: object) -> None:
        self.compilations += 1
        hits, misses = compiled_code_counts()
        seconds = time.perf_counter() - self._began
        logger.info("compiled in %.1f s (compiled code found on disk: %d, made: %d)", seconds, hits, misses)


class _Collector(logging.Handler):
    """Collects warnings, each shortened to a line."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message."""
        self._messages.append(_shorten(record.getMessage()))


def compiled_code_counts() -> tuple[int, int]:
    """Return how many pieces of compiled code were found on disk in this process, and how many were not."""
    found = counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
    return found, counters["inductor"]["fxgraph_cache_miss"]


def compile_denoisers(compiler: Compiler, denoisers: Mapping[str, torch.nn.Module]) -> str:
    """Compile all denoisers; return what is compiled, in words."""
    return ", ".join(compiler.compile(name, module) for name, module in denoisers.items())


def _shorten(text: str) -> str:
    return textwrap.shorten(text, MAX_LENGTH, placeholder=" ...")
