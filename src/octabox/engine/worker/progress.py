"""Report the progress of a call, with partial images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diffusers import DiffusionPipeline

from octabox.engine.protocol import Call
from octabox.engine.worker.outputs.encoding import encode_output
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.outputs.previews import preview
from octabox.engine.worker.placement.offload import Placement
from octabox.engine.worker.steps import OnStep
from octabox.types import Artifact, Progress

#: Called after each step of a batch with the number of steps taken, the total number, and the latents of each run.
OnSharedStep = Callable[[int, int, Sequence[Any]], None]


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
        report = self.for_runs(pipe, (index,), send)
        return lambda taken, total, tensors: report(taken, total, (tensors.get("latents"),))

    def for_runs(
        self, pipe: DiffusionPipeline, indices: Sequence[int], send: Callable[[Progress], None]
    ) -> OnSharedStep:
        """Return the function to call after each step of runs that share a batch.

        Args:
            pipe: The pipeline.
            indices: The indices of the runs, which follow each other.
            send: Called with the progress.
        """
        runs, limit, due, first = len(self._call.runs), self._call.partial_images, 1, indices[0]

        def on_step(taken: int, total: int, latents: Sequence[Any]) -> None:
            nonlocal due
            self._check()
            self.steps_taken += 1
            is_last = taken >= total
            done, of = first * total + taken * len(indices), runs * total
            send(Progress("decoding" if is_last else "running", done, of, output=first))
            # Partial images are spread evenly over the steps.
            if total and not is_last and due <= limit and taken * (limit + 1) >= due * total:
                due += 1
                for index, own in zip(indices, latents, strict=True):
                    artifact = self._partial_image(pipe, index, own)
                    if artifact is not None:
                        send(Progress("running", done, of, artifact, index))

        return on_step

    def missing_images(self) -> list[str]:
        """Return a warning if fewer partial images could be made than were requested."""
        requested = self._call.partial_images * len(self._call.runs)
        if self.partial_images >= requested:
            return []
        return [f"'partial_images': only {self.partial_images} of {requested} could be made of this pipeline's steps."]

    def _partial_image(self, pipe: DiffusionPipeline, index: int, latents: Any) -> Artifact | None:
        """Return the image of latents as a file; None if they cannot be decoded."""
        with self._placement.without_eviction():
            image = preview(pipe, latents)
        if image is None:
            return None
        self.partial_images += 1
        seed = self._call.runs[index].seed
        return next(encode_output(OutputItem("preview", "image", image), seed, {}, self._call.output))
