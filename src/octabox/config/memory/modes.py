"""The memory modes: which weights leave the accelerator while they are not in use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

#: Most of them have the names of diffusers' methods; ``full`` keeps the model on the accelerator, and ``auto`` selects a mode
#: by the free memory.
Mode = Literal["auto", "full", "encoder_offload", "model_cpu_offload", "sequential_cpu_offload", "group_offload"]

#: Names of the AUTOMATIC1111 web UI and SD.Next.
ALIASES: dict[str, Mode] = {"medvram": "model_cpu_offload", "lowvram": "sequential_cpu_offload"}


def _resolve(value: Any) -> Any:
    """Return the mode for another name of it; other values as they are."""
    return ALIASES.get(value.lower(), value) if isinstance(value, str) else value


#: A memory mode, which may have another name in a configuration.
MemoryMode = Annotated[Mode, BeforeValidator(_resolve)]
