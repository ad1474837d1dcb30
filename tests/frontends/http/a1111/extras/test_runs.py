"""The progress of several runs of models on one image."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from typing import Any

from PIL import Image

from fakes import Server, sample_image
from octabox.frontends.http.a1111.callers import Caller
from octabox.frontends.http.a1111.extras.runs import ModelRuns
from octabox.frontends.http.a1111.progress.tasks import Task
from octabox.types import Event, GenerationRequest, Progress


async def test_the_progress_of_all_runs_grows() -> None:
    """Each is a part of the whole, also where it has parts itself."""
    server, task, fractions = Server(), Task("1", Caller("me"), "extras"), list[float]()
    server.add("larger", "StableDiffusionUpscalePipeline")
    stream = server.generations.stream

    async def stepping(request: GenerationRequest, models: Any = None) -> AsyncGenerator[Event, None]:
        for part in (1, 2):
            for step in (1, 2, 3):
                yield Progress("running", step, 3, part=part, parts=2)
        async for event in stream(request, models):
            if not isinstance(event, Progress):
                yield event

    def note(progress: Progress) -> None:
        task.advance(progress)
        fractions.append(task.fraction)

    server.generations.stream = stepping  # type: ignore[method-assign]
    runs = ModelRuns(server.ctx, server.ctx.models.snapshot(), [], note, total=2)
    with Image.open(io.BytesIO(sample_image(size=(16, 8)))) as image:
        for _ in range(2):
            await runs.run("larger", image.convert("RGB"))

    assert sorted(fractions) == fractions
    assert (12, 0.5, 1.0) == (len(fractions), fractions[5], fractions[-1])
