"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil
import torch

from gpu_checks.memory import device_memory

#: Packages whose versions make a difference.
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "peft", "cache-dit")


def device() -> str:
    """Return the type of the accelerator, or ``cpu``."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"


def describe() -> dict[str, object]:
    """Return the accelerator, its driver, the host, and the versions of what runs on it."""
    memory = device_memory()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "accelerator": accelerator_name(),
        "accelerators": torch.accelerator.device_count(),
        "accelerator memory GB": None if memory is None else round(memory[1] / 1e9, 1),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "memory GB": round(psutil.virtual_memory().total / 1e9, 1),
        "commit": _output("git", "-C", str(Path(__file__).parents[2]), "rev-parse", "--short", "HEAD"),
        **versions,
    }


def accelerator_name() -> str | None:
    """Return the accelerator's name; None if there is none."""
    kind = device()
    if kind == "cpu":
        return None
    module = getattr(torch, kind, None)
    named = getattr(module, "get_device_name", None)
    return str(named(0)) if callable(named) else kind


def _output(*command: str) -> str | None:
    """Return the first line that a command prints; None where it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None
