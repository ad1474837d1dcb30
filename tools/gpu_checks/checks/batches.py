"""Several images of one call by memory mode: images times steps per second, and memory of host and accelerator.

Octabox makes one image a call (docs/adr/0004-one-run-for-each-picture.md), so these calls are made of the pipeline as a worker
loads it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.direct import DirectError
from gpu_checks.runner import CheckFailedError, Row


def time_batches(bench: Bench, model: str, memory: str) -> Iterator[Row]:
    """Call a model for several images at once, as many as there is memory for.

    Raises:
        CheckFailedError: Not even one image could be made.
    """
    bench.server.close()  # Its models would hold memory.
    params = bench.params(model, num_inference_steps=bench.sizes.batch_steps)
    row: Row = {"model": model, "memory mode": memory}
    bench.load_as_worker(model, memory=memory)
    bench.direct.call(params)
    done = []
    with contextlib.suppress(DirectError):  # Out of memory: larger batches would be too.
        for images in bench.sizes.batches:
            done.append((images, bench.direct.call(params, images)))
    bench.direct.close()
    for images in bench.sizes.batches:
        call = dict(done).get(images)
        row[f"it/s, batch {images}"] = call and images * bench.sizes.batch_steps / call["seconds"]
    if not done:
        yield row
        raise CheckFailedError("not even one image could be made")
    row["host GB"] = gigabytes(max(call["host"] for _, call in done))
    row["device GB by batch"] = [round(call["device"] / 1e9, 2) for _, call in done if call["device"] is not None]
    yield row
