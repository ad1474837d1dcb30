"""Write the models that the other checks run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.models import build
from gpu_checks.runner import Row, require


def build_model(bench: Bench, model: str) -> Iterator[Row]:
    """Write a model with random weights, unless an earlier run has left it there."""
    facts, folder = bench.architecture(model), bench.weights(model)
    row: Row = {"model": model, "dtype": facts.dtype}
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        began = time.perf_counter()
        count = build(facts, unfinished, bench.device)
        unfinished.rename(folder)
        row |= {"million weights": count / 1e6, "written in s": time.perf_counter() - began}
    files = list(folder.rglob("*.safetensors"))
    yield {**row, "files": len(files), "files GB": gigabytes(sum(file.stat().st_size for file in files))}
    require(files, "no weights were written")
