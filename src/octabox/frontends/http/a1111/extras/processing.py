"""Enlarge images and restore faces as a task of the caller, which shows progress and can be ended."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image

from octabox.errors import MissingParameterError
from octabox.frontends.http.a1111.callers import Caller
from octabox.frontends.http.a1111.extras import faces
from octabox.frontends.http.a1111.extras.runs import ModelRuns
from octabox.frontends.http.a1111.extras.schema import ExtrasBody
from octabox.frontends.http.a1111.extras.upscale import enlarge
from octabox.frontends.http.a1111.images import read_image
from octabox.frontends.http.a1111.progress.tasks import OnProgress, Task, Tasks
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.service.protocols import Models

#: Name of the task, as the web UI has it.
JOB = "extras"


@dataclass
class ProcessedImage:
    """An image of a request.

    Args:
        image: What has been made of it so far.
        is_finished: Whether that is all.
    """

    image: Image.Image
    is_finished: bool = False

    async def to_base64(self) -> str:
        """Return the image as the response has it."""
        return base64.b64encode(await asyncio.to_thread(encode_png, self.image)).decode("ascii")


@dataclass(frozen=True)
class Processor:
    """Processes the images of requests one after the other.

    Args:
        ctx: Collaborators of the routes.
        tasks: The tasks that run.
    """

    ctx: AppContext
    tasks: Tasks

    async def process(
        self, caller: Caller, body: ExtrasBody, texts: Sequence[str], field: str, warnings: list[str]
    ) -> list[ProcessedImage]:
        """Return the images with restored faces, enlarged, or the other way round; those after an interruption are left out.

        Args:
            caller: Who has sent them.
            body: The fields of the request.
            texts: The images in base64.
            field: The field that they come from.
            warnings: Receives the warnings.

        Raises:
            OctaboxError: An image cannot be read, or a model has failed.
        """
        found: list[ProcessedImage] = []
        with self.tasks.started(None, caller, JOB, len(texts)) as task:
            models = await asyncio.to_thread(self.ctx.models.snapshot)
            for index, text in enumerate(texts):
                require_image(text)
                found.append(ProcessedImage(await read_image(self.ctx, text, field)))
                await task.run(index, [partial(self._process, models, body, found[-1], warnings)])
                if task.interrupted:
                    break
            warnings += _ends(task, found, len(texts))
        return found

    async def _process(
        self, models: Models, body: ExtrasBody, image: ProcessedImage, warnings: list[str], on_progress: OnProgress
    ) -> None:
        """Process an image; what is finished of it remains if the work is cancelled."""
        runs = ModelRuns(self.ctx, models, warnings, on_progress, _most_runs(body))
        steps = (enlarge, faces.restore_faces)
        for step in steps if body.upscale_first else reversed(steps):
            image.image = await step(runs, body, image.image)
        image.is_finished = True


def require_image(image: str) -> None:
    """Raise an error if there is no image.

    Raises:
        MissingParameterError: The text is empty.
    """
    if not image.strip():
        raise MissingParameterError("'image' is missing.", hint="Send it as base64.", parameter="image")


def _most_runs(body: ExtrasBody) -> int:
    """Return how many runs of models a request may have for each image."""
    upscalers = 2 if body.extras_upscaler_2_visibility else 1
    return upscalers + sum(bool(getattr(body, field)) for field in faces.FIELDS)


def _ends(task: Task, found: Sequence[ProcessedImage], count: int) -> list[str]:
    """Return warnings about images that are not finished, since the task was interrupted or they were skipped."""
    finished = sum(each.is_finished for each in found)
    if task.interrupted and finished < count:
        return [f"The request was interrupted: {finished} of {count} images are finished."]
    return [f"Image {number} was skipped." for number, each in enumerate(found, 1) if not each.is_finished]
