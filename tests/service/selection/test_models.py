"""The model of a request that names none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import FakeModels
from octabox.errors import ModelNotFoundError
from octabox.service.selection.models import first_model_for
from octabox.types import Kind, ModelInfo


def models_of(*classes: tuple[str, str]) -> FakeModels:
    """Return models by name and class, with the tasks of the class."""
    models = FakeModels()
    models.infos = [ModelInfo(name, name, pipeline, models.catalog.tasks_like(pipeline)) for name, pipeline in classes]
    return models


DEPTH = ("a-depth", "MarigoldDepthPipeline")
IMAGES = ("z-images", "StableDiffusionPipeline")
ONLY_EDITS = ("b-edits", "StableDiffusionInstructPix2PixPipeline")
EMBEDDED = ("demo", "StableDiffusionPipeline")
VIDEO = ("c-video", "WanPipeline")


@pytest.mark.parametrize(
    ("classes", "kind", "task", "expected"),
    [
        ([DEPTH, ONLY_EDITS, EMBEDDED, IMAGES], "image", "text-to-image", "z-images"),
        ([DEPTH, EMBEDDED, VIDEO], "image", "text-to-image", "demo"),
        ([ONLY_EDITS, IMAGES], "image", "image-to-image", "b-edits"),
        ([ONLY_EDITS, IMAGES], "image", "inpainting", "z-images"),
        ([ONLY_EDITS], "image", "text-to-image", "b-edits"),
        ([IMAGES, VIDEO], "video", None, "c-video"),
        ([EMBEDDED, IMAGES], "image", None, "z-images"),
    ],
)
def test_the_first_that_serves_the_task(
    classes: list[tuple[str, str]], kind: Kind, task: str | None, expected: str
) -> None:
    """A model of the task precedes one that makes the media type alone, and the embedded model is last."""
    assert expected == first_model_for(models_of(*classes), kind, task)


def test_none_makes_it() -> None:
    """The error names the media type, and how to get a model."""
    with pytest.raises(ModelNotFoundError, match="no model that makes images") as caught:
        first_model_for(models_of(VIDEO), "image", "text-to-image")

    assert "models folder" in caught.value.hint


def test_an_alias_is_not_chosen() -> None:
    """Its model is the one to choose, in its own place."""
    models = models_of(IMAGES, EMBEDDED)
    models.infos.insert(0, replace(models.infos[1], name="a-name", alias_of="demo"))

    assert "z-images" == first_model_for(models, "image", "text-to-image")
