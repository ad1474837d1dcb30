"""Models that are split over processes of the CPU, for tests of the processes that run them together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from makers import pipelines
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run

#: A class that diffusers has plans for, with which tiny models of it compute as much in two processes as in one.
SPLIT = "FluxPipeline"


def save(name: str, folder: Path) -> Path:
    """Write the tiny pipeline of a class into a folder."""
    pipelines()[name].make().save_pretrained(folder)
    return folder


def call_of(model: ModelConfig, name: str, runs_as: str = "", inputs: Any = None, **params: Any) -> Call:
    """Return a call of a model of a class."""
    given = {**pipelines()[name].params, **params}
    known = {key: value for key, value in given.items() if not str(value).startswith("sample:") and key != "strength"}
    known |= {"strength": given["strength"]} if inputs else {}
    run = Run(known, inputs or {}, seed=5)
    return Call("call", model, name, runs_as or name, "text-to-image", (run,))


def children(pid: int | None) -> set[int]:
    """Return the processes that a process has started and that run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.add(int(entry.name))
    return found - {os.getpid()}
