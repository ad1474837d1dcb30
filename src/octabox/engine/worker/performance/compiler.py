"""Compile a model's denoisers with torch.compile, and run them uncompiled if that fails."""

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

#: Share of a module's weights in repeated blocks from which on only those are compiled.
MIN_REGIONAL_SHARE = 0.5

#: Limit of compilations for each type of block; further variants run uncompiled.
MAX_VARIANTS = 8

#: Maximal length of reported compiler messages.
MAX_LENGTH = 300

#: Loggers of the compiler.
LOGGERS = ("torch._dynamo", "torch._inductor")


def check_backend(name: str, model: str) -> None:
    """Check that torch.compile has a backend of this name.

    Raises:
        LoadError: There is no such backend.
    """
    known = torch._dynamo.list_backends(exclude_tags=())  # noqa: SLF001 (torch documents it by this name)
    if name not in known:
        raise LoadError(
            f"Model '{model}': torch.compile has no backend '{name}'.",
            hint=f"Available backends: {', '.join(known)}.",
            model=model,
            parameter="performance.compile_backend",
            choices=known,
        )


class Compiler:
    """Compiles the modules of one model and reports compilations.

    Args:
        settings: Performance settings with the compile options.
        device: Execution device of the modules, whose weights may be offloaded.
    """

    def __init__(self, settings: PerformanceConfig, device: str = "cpu") -> None:
        self._settings, self._device = settings, device
        self._graphs = settings.compile_mode in GRAPH_MODES
        self._modules: list[Any] = []
        self._reported: set[str] = set()
        self._messages: list[str] = []
        self._on_compile: Callable[[], None] = lambda: None
        self._started_at = 0.0
        self.failure = ""
        self.compilations = 0

    def compile(self, name: str, module: Any) -> str:
        """Wrap a module, or its repeated blocks, for compilation in the first call.

        Returns:
            A description of what is compiled.
        """
        settings, scope = self._settings, self._choose_scope(module)
        # PEFT freezes weights with the first LoRA, and compiled code is for weights that require gradients or do not.
        module.requires_grad_(requires_grad=False)
        options: dict[str, Any] = {"backend": settings.compile_backend, "dynamic": settings.compile_dynamic}
        if settings.compile_mode != "default":
            options["mode"] = settings.compile_mode
        if scope == "regional":
            module.compile_repeated_blocks(**options)
            parts = [each for each in module.modules() if each._compiled_call_impl is not None]  # noqa: SLF001
        else:
            module.compile(**options)
            parts = [module]
        for part in parts:
            self._add_fallback(part)
        self._modules += parts
        self._raise_recompile_limit()
        return f"{name} ({'repeated blocks' if scope == 'regional' else 'whole module'})"

    @property
    def graph_breaks(self) -> list[str]:
        """The reasons for which parts of the model run uncompiled between compiled parts."""
        return list(dict.fromkeys(map(_shorten, counters["graph_break"])))

    @contextmanager
    def watch(self, on_compile: Callable[[], None]) -> Iterator[None]:
        """Within the context, call a function at the start of each compilation, and collect the compiler's warnings."""
        handler = _MessageCollector(self._messages)
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
        """Return new warnings since the last call: each message, graph break and failure is returned once."""
        found = [f"torch.compile: {text}" for text in self._messages]
        found += [f"The compiled model has a graph break, which costs speed: {each}" for each in self.graph_breaks]
        if self.failure:
            found.append(f"The model could not be compiled and runs uncompiled: {self.failure}")
        self._messages.clear()
        new = [text for text in dict.fromkeys(found) if text not in self._reported]
        self._reported.update(new)
        for text in new:
            logger.warning("%s", text)
        return new

    def _choose_scope(self, module: Any) -> str:
        """Return whether to compile the repeated blocks of a module (``regional``) or the ``whole`` module."""
        names = getattr(module, "_repeated_blocks", None) or ()
        blocks = [each for each in module.modules() if type(each).__name__ in names]
        if not blocks or self._graphs or self._settings.compile == "whole":
            return "whole"
        if self._settings.compile == "regional" or self._device == "cpu":
            return "regional"
        in_blocks = sum({id(weight): weight.numel() for block in blocks for weight in block.parameters()}.values())
        total = sum(weight.numel() for weight in module.parameters())
        return "regional" if in_blocks >= MIN_REGIONAL_SHARE * total else "whole"

    def _add_fallback(self, module: Any) -> None:
        """Let a compiled module run uncompiled once a compilation has failed."""
        compiled, uncompiled = module._compiled_call_impl, module._call_impl  # noqa: SLF001 (torch calls it by this name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.failure:
                return uncompiled(*args, **kwargs)
            try:
                if not self._graphs:
                    return compiled(*args, **kwargs)
                # The next run of a CUDA graph overwrites the outputs of this one.
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                return _pytree.tree_map_only(torch.Tensor, torch.Tensor.clone, compiled(*args, **kwargs))
            except TorchDynamoException as error:
                self.failure = _shorten(str(error)) or type(error).__name__
                logger.debug("the compilation failed", exc_info=error)
                return uncompiled(*args, **kwargs)

        module._compiled_call_impl = call  # noqa: SLF001 (as above)

    def _raise_recompile_limit(self) -> None:
        """Raise the recompile limit for the number of distinct block types."""
        block_types = {(type(each), tuple(weight.shape for weight in each.parameters())) for each in self._modules}
        config: Any = torch._dynamo.config  # noqa: SLF001 (torch documents it by this name)
        config.recompile_limit = MAX_VARIANTS * len(block_types)

    def _start(self, _: object) -> None:
        self._started_at = time.perf_counter()
        self._on_compile()

    def _end(self, _: object) -> None:
        self.compilations += 1
        hits, misses = compiled_code_counts()
        seconds = time.perf_counter() - self._started_at
        logger.info("compiled in %.1f s (cache hits: %d, misses: %d)", seconds, hits, misses)


class _MessageCollector(logging.Handler):
    """Collects warnings, each shortened to one line."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Collect the message of a record."""
        self._messages.append(_shorten(record.getMessage()))


def compiled_code_counts() -> tuple[int, int]:
    """Return the hits and misses of torch's cache of compiled code in this process."""
    hits = counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
    return hits, counters["inductor"]["fxgraph_cache_miss"]


def compile_denoisers(compiler: Compiler, denoisers: Mapping[str, torch.nn.Module]) -> str:
    """Compile all denoisers and return a description of what is compiled."""
    return ", ".join(compiler.compile(name, module) for name, module in denoisers.items())


def _shorten(text: str) -> str:
    return textwrap.shorten(text, MAX_LENGTH, placeholder=" ...")
