"""What can be set of the pretended accelerator."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

#: The environment variable that installs the device; those of its settings begin with it.
PREFIX = "PRETENDED_ACCELERATOR"

#: In the folder that processes share: settings for those that have yet to use the device.
SETTINGS_FILE = "settings.json"


@dataclass
class Settings:
    """The device, as it is set for a process.

    Args:
        devices: How many there are.
        memory: Bytes of each; 0 is a tebibyte.
        lacks: Names of dtypes that no tensor of it can have.
        emulates: Names of dtypes that it computes in only by emulation, as older GPUs do bfloat16.
        initialize_at_import: Whether importing torch initializes it, as importing bitsandbytes or torchao does with CUDA.
        nvml: Whether devices can be counted without initializing them, where PYTORCH_NVML_BASED_CUDA_CHECK=1 asks for it;
            with CUDA they cannot on WSL and Jetson.
        fail: A fault to come, as ``kind``, ``kind@after`` or ``kind@after:operator``; see `driver.FAULTS`.
        folder: Shared by processes: the bytes that each holds, settings for new ones, and a line for each event.
    """

    devices: int = 1
    memory: int = 0
    lacks: tuple[str, ...] = ()
    emulates: tuple[str, ...] = ()
    initialize_at_import: bool = False
    nvml: bool = True
    fail: str = ""
    folder: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return what environment variables set."""
        defaults, values = cls(), {}
        for field in fields(cls):
            text = environment.get(f"{PREFIX}_{field.name.upper()}")
            if text is not None:
                values[field.name] = _parse(text, type(getattr(defaults, field.name)))
        return cls(**values)

    def to_environment(self) -> dict[str, str]:
        """Return the environment variables that set this, and the one that installs the device."""
        return {PREFIX: "1"} | {f"{PREFIX}_{name.upper()}": _write(value) for name, value in asdict(self).items()}

    def override(self) -> None:
        """Load the settings file of the shared folder."""
        file = Path(self.folder) / SETTINGS_FILE
        if self.folder and file.exists():
            for name, value in json.loads(file.read_text(encoding="utf-8")).items():
                setattr(self, name, tuple(value) if isinstance(value, list) else value)


def _parse(text: str, kind: type) -> Any:
    if kind is tuple:
        return tuple(filter(None, text.split(",")))
    return text not in ("", "0") if kind is bool else kind(text)


def _write(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(int(value)) if isinstance(value, bool) else str(value)
