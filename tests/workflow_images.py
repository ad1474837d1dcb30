"""Images of the embedded model, asked for with a workflow."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from octabox.server import Parts
from octabox.types import Generation, GenerationRequest, Progress

#: What all of them ask for, and in how many steps.
PROMPT, STEPS = "a red circle on a white background", 8


class Drawing:
    """Asks for images of the embedded model.

    Args:
        parts: What serves them.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.progress: list[Progress] = []

    def request(self, workflow: dict[str, Any] | None = None, **options: Any) -> GenerationRequest:
        """Return a request; options that are no fields are call parameters."""
        names = (
            "model",
            "task",
            "inputs",
            "seed",
            "num_outputs",
            "scheduler",
            "output",
            "variation",
            "adapters",
            "deterministic",
        )
        fields = {name: options.pop(name) for name in names if name in options}
        params = {"prompt": PROMPT, "num_inference_steps": STEPS, "guidance_scale": 3.0, **options}
        return GenerationRequest(**{"model": "demo", "seed": 1, **fields}, params=params, workflow=workflow or {})

    async def __call__(self, workflow: dict[str, Any] | None = None, **options: Any) -> Generation:
        """Make images."""
        self.progress = []
        async for event in self.parts.generation.stream(self.request(workflow, **options)):
            if isinstance(event, Generation):
                return event
            self.progress.append(event)
        raise AssertionError("no result")

    async def image(self, workflow: dict[str, Any] | None = None, **options: Any) -> Image.Image:
        """Make one image."""
        return opened((await self(workflow, **options)).artifacts[0].content)

    def steps(self, part: int) -> int:
        """Return how many steps a part of the last workflow had."""
        return max(each.steps for each in self.progress if each.part == part)


def opened(content: bytes) -> Image.Image:
    """Return the image of a file."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def png(image: Image.Image) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
