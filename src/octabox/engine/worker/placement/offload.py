"""Move a model to its device: whole, or part by part as its memory mode says."""

from __future__ import annotations

import torch
from diffusers import DiffusionPipeline

from octabox.config.model import ModelConfig
from octabox.config.presetting import settings_for


def place(pipe: DiffusionPipeline, config: ModelConfig, device: str) -> tuple[str, ...]:
    """Move a model to its device as its memory mode says; return what could not be honoured."""
    if config.memory == "full":
        pipe.to(device)
    elif device == "cpu":
        # What a preset says is meant for accelerators alone; nobody has asked for it.
        if settings_for(type(pipe).__name__).get("memory") == config.memory:
            return ()
        return (
            f"`memory: {config.memory}` has no effect on a processor: there is no accelerator to move weights from.",
        )
    elif config.memory == "group_offload":
        pipe.enable_group_offload(onload_device=torch.device(device), offload_type="leaf_level")
    else:
        getattr(pipe, f"enable_{config.memory}")(device=device)
    return ()
