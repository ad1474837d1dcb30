"""How much memory a worker holds, and how it is put in order after a failure."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import DiffusionPipeline


def bytes_held() -> dict[str, int]:
    """Return the bytes of memory that this process holds, by place: ``host`` and each accelerator."""
    held = {"host": _resident()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        held |= {f"cuda:{index}": torch.cuda.memory_reserved(index) for index in range(torch.cuda.device_count())}
    return held


def _resident() -> int:
    """Return the process's resident memory in bytes; where the system does not tell, 0."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def clean_up(pipelines: Iterable[DiffusionPipeline]) -> None:
    """Undo what an interrupted call leaves behind: offloading hooks out of place, step caches, memory kept for reuse.

    diffusers does this at the end of a call, but not when the call raises.
    """
    for pipeline in pipelines:
        with contextlib.suppress(Exception):
            pipeline.maybe_free_model_hooks()
        for component in pipeline.components.values():
            if callable(reset := getattr(component, "_reset_stateful_cache", None)):
                with contextlib.suppress(Exception):
                    reset()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
