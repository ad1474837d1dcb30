"""The messages between the server and a process that converts a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions


@dataclass(frozen=True)
class Conversion:
    """To a process that converts a model: what to write.

    Args:
        model: Configuration of the model.
        pipeline: Diffusers class to load it as.
        out: Folder to write to.
        options: Settings of the process.
        variant: Part of the weight files' names, such as fp16.
        max_shard_size: Size of the largest weight file, such as 5GB; None leaves that to diffusers.
    """

    model: ModelConfig
    pipeline: str
    out: Path
    options: WorkerOptions
    variant: str | None = None
    max_shard_size: str | None = None


@dataclass(frozen=True)
class Converted:
    """From that process: the folder is complete."""

    warnings: tuple[str, ...] = ()
