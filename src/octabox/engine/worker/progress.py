"""Report the progress of a call, with partial images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from diffusers import DiffusionPipeline

from octabox.engine.protocol import Call
from octabox.engine.worker.outputs.encoding import encode_output
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.outputs.previews import preview
from octabox.engine.worker.placement.offload import Placement
from octabox.engine.worker.steps import OnStep
from octabox.types import Artifact, Progress


class ProgressReporter:
    """Reports the steps of one call.

    Args:
        call: The call.
        placement: Moves the components that decode partial images.
        check: Called after each step; raises if the call is to end.
    """

    def __init__(self, call: Call, placement: Placement, check: Callable[[], None]) -> None:
        self._call, self._placement, self._check = call, placement, check
        self.steps_taken = self.partial_images = 0

    def for_run(self, pipe: DiffusionPipeline, index: int, send: Callable[[Progress], None]) -> OnStep:
        """Return the function to call after each step of one run.

        Args:
            pipe: The pipeline.
            index: The index of the run.
            send: Called with the progress.
        """
        runs, limit, due = len(self._call.runs), self._call.partial_images, 1

        def on_step(taken: int, total: int, tensors: Mapping[str, Any]) -> None:
            nonlocal due
            self._check()
            self.steps_taken += 1
            is_last = taken >= total
            done, of = index * total + taken, runs * total
            send(Progress("decoding" if is_last else "running", done, of, output=index))
            # Partial images are spread evenly over the steps.
            if total and not is_last and due <= limit and taken * (limit + 1) >= due * total:
                due += 1
                artifact = self._partial_image(pipe, index, tensors.get("latents"))
                if artifact is not None:
                    send(Progress("running", done, of, artifact, index))

        return on_step

    def missing_images(self) -> list[str]:
        """Return a warning if fewer partial images could be made than were requested."""
        requested = self._call.partial_images * len(self._call.runs)
        if self.partial_images >= requested:
            return []
        return [f"Only {self.partial_images} of {requested} partial images could be made of this pipeline's steps."]

    def _partial_image(self, pipe: DiffusionPipeline, index: int, latents: Any) -> Artifact | None:
        """Return the image of latents as a file; None if they cannot be decoded."""
        with self._placement.without_eviction():
            image = preview(pipe, latents)
        if image is None:
            return None
        self.partial_images += 1
        seed = self._call.runs[index].seed
        return next(encode_output(OutputItem("preview", "image", image), seed, {}, self._call.output))
