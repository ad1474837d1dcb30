"""The memory modes: which weights leave the accelerator while they are not in use."""

from __future__ import annotations

from typing import Literal

#: Most of them have the names of diffusers' methods; ``full`` keeps the model on the accelerator, and ``auto`` selects a mode
#: by the free memory.
MemoryMode = Literal["auto", "full", "encoder_offload", "model_cpu_offload", "sequential_cpu_offload", "group_offload"]
