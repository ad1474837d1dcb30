"""Which pipeline serves a request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octabox.catalog.entries import PackageMetadata, PipelineEntry
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import InvalidParameterError, TaskNotFoundError, UnknownParameterError
from octabox.service.selection.pipelines import choose_pipeline
from octabox.service.served_model import ServedModel

PLAIN = "StableDiffusionPipeline"


def chosen(own: str, *files: str, task: str | None = None, extra: frozenset[str] = frozenset()) -> tuple[str, str]:
    """Return the class and the task for a request to a model of a class."""
    catalog = load_catalog()
    config = ModelConfig.model_validate({"name": "m", "model": "m", "components": dict.fromkeys(extra, "x")})
    entry, served = choose_pipeline(catalog, ServedModel(config, catalog.pipeline(own)), task, files)
    return entry.name, served


@pytest.mark.parametrize(
    ("own", "files", "task", "expected"),
    [
        (PLAIN, (), None, (PLAIN, "text-to-image")),
        (PLAIN, ("image",), None, ("StableDiffusionImg2ImgPipeline", "image-to-image")),
        (PLAIN, ("image", "mask_image"), None, ("StableDiffusionInpaintPipeline", "inpainting")),
        (PLAIN, ("image", "mask_image"), "inpaint", ("StableDiffusionInpaintPipeline", "inpainting")),
        (PLAIN, ("prompt_embeds",), None, (PLAIN, "text-to-image")),
        (PLAIN, ("prompt_embeds", "image"), None, ("StableDiffusionImg2ImgPipeline", "image-to-image")),
        (PLAIN, ("ip_adapter_image",), None, (PLAIN, "text-to-image")),
        ("StableDiffusionInpaintPipeline", (), None, (PLAIN, "text-to-image")),
        ("WanPipeline", (), None, ("WanPipeline", "text-to-video")),
        ("WanPipeline", ("video",), None, ("WanVideoToVideoPipeline", "video-to-video")),
        ("WanVideoToVideoPipeline", (), None, ("WanPipeline", "text-to-video")),
        ("UniDiffuserPipeline", (), None, ("UniDiffuserPipeline", "text-to-image")),
        ("UniDiffuserPipeline", ("image",), None, ("UniDiffuserPipeline", "image-to-image")),
        ("UniDiffuserPipeline", ("image",), "image-to-text", ("UniDiffuserPipeline", "image-to-text")),
        ("StableAudio3AudioToAudioPipeline", ("audio",), None, ("StableAudio3AudioToAudioPipeline", "audio-to-audio")),
        ("StableAudio3AudioToAudioPipeline", (), None, ("StableAudio3AudioToAudioPipeline", "audio-to-audio")),
        ("MarigoldDepthPipeline", ("image",), None, ("MarigoldDepthPipeline", "depth-estimation")),
        ("DanceDiffusionPipeline", (), None, ("DanceDiffusionPipeline", "unconditional-audio-generation")),
        (
            "KandinskyV22Pipeline",
            ("image_embeds", "negative_image_embeds"),
            None,
            ("KandinskyV22Pipeline", "text-to-image"),
        ),
    ],
)
def test_the_files_of_a_request_choose(
    own: str, files: tuple[str, ...], task: str | None, expected: tuple[str, str]
) -> None:
    """The pipeline takes all that is brought and needs nothing else; the task is what most of it is for."""
    assert expected == chosen(own, *files, task=task)


def test_a_task_without_its_file_still_finds_its_pipeline() -> None:
    """What is missing is named later, by the check of the parameters, which knows all that is wrong."""
    assert ("StableDiffusionImg2ImgPipeline", "image-to-image") == chosen(PLAIN, task="image-to-image")
    assert ("StableDiffusionInpaintPipeline", "inpainting") == chosen(PLAIN, "image", task="inpainting")


@pytest.mark.parametrize(
    ("own", "files", "task", "expected"),
    [
        (PLAIN, (), None, (PLAIN, "text-to-image")),
        (PLAIN, ("image",), None, ("StableDiffusionControlNetPipeline", "text-to-image")),
        (PLAIN, ("image",), "image-to-image", ("StableDiffusionImg2ImgPipeline", "image-to-image")),
        (PLAIN, ("image", "control_image"), None, ("StableDiffusionControlNetImg2ImgPipeline", "image-to-image")),
        (
            PLAIN,
            ("image", "mask_image", "control_image"),
            None,
            ("StableDiffusionControlNetInpaintPipeline", "inpainting"),
        ),
        ("FluxPipeline", ("control_image",), None, ("FluxControlNetPipeline", "text-to-image")),
        ("StableDiffusionXLPipeline", ("image",), None, ("StableDiffusionXLControlNetPipeline", "text-to-image")),
    ],
)
def test_a_component_that_was_configured_is_used_where_it_can_be(
    own: str, files: tuple[str, ...], task: str | None, expected: tuple[str, str]
) -> None:
    """With a ControlNet, an image steers, unless the task says that it is to be started from."""
    assert expected == chosen(own, *files, task=task, extra=frozenset({"controlnet"}))


def test_files_that_no_pipeline_takes_are_named() -> None:
    """The error names the file that is unknown, and the tasks there are."""
    with pytest.raises(UnknownParameterError, match="takes video") as caught:
        chosen(PLAIN, "image", "video")

    assert "video" == caught.value.parameter
    assert "inpainting" in caught.value.hint


def test_a_misspelt_file_is_told_the_likest() -> None:
    """The hint has the right name, of whatever sibling."""
    with pytest.raises(UnknownParameterError, match="takes mask_imagee") as caught:
        chosen(PLAIN, "image", "mask_imagee")

    assert "Did you mean mask_image" in caught.value.hint


def test_a_file_for_a_value_is_refused() -> None:
    """The parameter is known, and takes no file."""
    with pytest.raises(InvalidParameterError, match="'strength' takes no file") as caught:
        chosen(PLAIN, "image", "strength")

    assert "strength" == caught.value.parameter


def test_files_that_are_never_taken_together_are_named() -> None:
    """Each of them is known, but no pipeline has both."""
    with pytest.raises(UnknownParameterError, match="takes image and latents") as caught:
        chosen("AmusedPipeline", "latents", "image")

    assert "image" == caught.value.parameter


@pytest.mark.parametrize(
    ("task", "words"), [("text-to-video", "cannot do text-to-video"), ("text-to-cheese", "Unknown task")]
)
def test_a_task_that_a_model_cannot_do_is_refused(task: str, words: str) -> None:
    """The error says what it can do, or that there is no such task."""
    with pytest.raises(TaskNotFoundError, match=words) as caught:
        chosen(PLAIN, task=task)

    assert "text-to-image" in caught.value.choices


@pytest.mark.parametrize("task", [None, "text-to-image"])
def test_a_class_whose_tasks_nothing_tells_is_refused(task: str | None) -> None:
    """A class of a version to come may say nothing of its output; the error says what is missing."""
    known = load_catalog().pipeline(PLAIN)
    mute = PipelineEntry("MutePipeline", "made.up", "made")
    catalog = Catalog(PackageMetadata(pipelines=(mute, replace(known, components=()))))

    with pytest.raises(TaskNotFoundError, match="MutePipeline serves no task"):
        choose_pipeline(catalog, ServedModel(ModelConfig(name="m", model="m"), mute), task)
