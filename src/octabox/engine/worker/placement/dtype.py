"""The dtype that a model's weights are loaded in."""

from __future__ import annotations

from pathlib import Path

import torch

from octabox.config.model import ModelConfig


def choose_dtype(requested: str | None, device: str) -> torch.dtype:
    """Return the dtype by name; ``auto`` is float32 on a processor and bfloat16 (else float16) on an accelerator."""
    if requested not in (None, "auto"):
        dtype = getattr(torch, str(requested))
        assert isinstance(dtype, torch.dtype)  # noqa: S101 (the configuration takes these names alone)
        return dtype
    if device == "cpu":
        return torch.float32
    halves = device.startswith("cuda") and not torch.cuda.is_bf16_supported()
    return torch.float16 if halves else torch.bfloat16


def choose_variant(config: ModelConfig) -> str | None:
    """Return ``fp16`` where half precision was asked for and the folder has such files; any files serve where it has not."""
    folder = Path(config.model)
    return "fp16" if config.dtype == "float16" and folder.is_dir() and any(folder.glob("*/*.fp16.*")) else None
