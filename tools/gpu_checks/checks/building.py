"""Write the models that the other checks run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.models import build
from gpu_checks.runner import Row, require


def build_model(bench: Bench, model: str) -> Iterator[Row]:
    """Write a model with random weights."""
    facts, folder = bench.architecture(model), bench.weights(model)
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    count = build(facts, folder, bench.device)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    row: Row = {"model": model, "million weights": count / 1e6, "dtype": facts.dtype, "files GB": gigabytes(size)}
    yield {**row, "written in s": time.perf_counter() - began}
    require(size >= count, "the files are smaller than the weights")
