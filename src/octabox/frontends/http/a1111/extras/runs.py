"""Run models on images one after the other, and report the progress of all."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from PIL import Image

from octabox.errors import GenerationError
from octabox.frontends.http.a1111.progress.tasks import OnProgress
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.service.events import result_of
from octabox.service.outputs import first_output
from octabox.service.protocols import Models
from octabox.service.selection.inputs import source_parameter
from octabox.types import GenerationRequest, OutputFormat, Progress


class ModelRuns:
    """The runs of models on one image.

    Args:
        ctx: Collaborators of the routes.
        models: The models of the server, as the request sees them.
        warnings: Receives the warnings.
        on_progress: Receives the progress of all runs together.
        total: How many runs there are at most.
    """

    def __init__(
        self,
        ctx: AppContext,
        models: Models,
        warnings: list[str],
        on_progress: OnProgress = lambda _: None,
        total: int = 1,
    ) -> None:
        self.ctx, self.models, self.warnings = ctx, models, warnings
        self._on_progress, self._total, self._done = on_progress, total, 0

    async def run(self, name: str, image: Image.Image, params: Mapping[str, Any] = MappingProxyType({})) -> Image.Image:
        """Return what a model makes of an image.

        Args:
            name: The model, which is chosen by what it does to an image.
            image: The image.
            params: Other call parameters.

        Raises:
            GenerationError: The model has made no image.
        """
        served = await asyncio.to_thread(self.models.resolve, name)
        source = source_parameter(served.pipeline)
        assert source is not None  # noqa: S101 (models without one are not listed)
        inputs = {source.name: (await asyncio.to_thread(encode_png, image),)}
        prompt = {"prompt": ""} if served.pipeline.parameter("prompt") else {}
        request = GenerationRequest(name, params={**prompt, **params}, inputs=inputs, output=OutputFormat("png"))
        generation = await result_of(self.ctx.generation.stream(request, self.models), self._report)
        self._done += 1
        made, left_out = first_output(generation.artifacts, "image")
        self.warnings += [*generation.warnings, *left_out]
        if made is None:
            raise GenerationError(f"The model '{name}' made no image.", model=name)
        with Image.open(io.BytesIO(made.content)) as opened:
            result: Image.Image = opened.convert("RGB")
            return result

    def _report(self, progress: Progress) -> None:
        """Report the progress of a run as a part of all."""
        total = max(self._total, self._done + 1)
        part = self._done * progress.parts + progress.part
        self._on_progress(replace(progress, part=part, parts=total * progress.parts))
