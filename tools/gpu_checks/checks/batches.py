"""Several images of one call by memory mode: images times steps per second, and memory of host and accelerator.

Octabox makes one image a call (docs/adr/0004-one-run-for-each-image.md), so these calls are made of the pipeline as a worker
loads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.direct import DirectError
from gpu_checks.runner import Row, require

#: Letters of an error that are kept.
MAX_LENGTH = 200


def time_batches(bench: Bench, model: str, memory: str) -> Iterator[Row]:
    """Call a model for batches of images, up to the size that memory allows."""
    bench.server.unload_all()
    params = bench.params(model, num_inference_steps=bench.sizes.batch_steps)
    row: Row = {"model": model, "memory mode": memory}
    bench.load_as_worker(model, memory=memory)
    bench.direct.call(params)
    done: dict[int, dict[str, Any]] = {}
    ended = None
    try:
        for images in bench.sizes.batches:
            done[images] = bench.direct.call(params, images)
    except DirectError as error:  # If memory has run out, it would for larger batches too.
        ended = str(error)[:MAX_LENGTH]
    bench.direct.unload()
    for images in bench.sizes.batches:
        seconds = done[images]["seconds"] if images in done else None
        row[f"it/s, batch {images}"] = seconds and images * bench.sizes.batch_steps / seconds
    row["host GB"] = gigabytes(max((call["host"] for call in done.values()), default=None))
    row["device GB by batch"] = [gigabytes(call["device"]) for call in done.values() if call["device"] is not None]
    row["ended by"] = ended
    yield row
    require(ended is None or "memory" in ended, f"a larger batch failed for another reason: {ended}")
    require(done, "not even one image could be made")
    require(not bench.smoke or ended is None, f"there is memory for all batches of a tiny model, but: {ended}")
