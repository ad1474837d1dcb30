"""Deriving tasks, and their names."""

from __future__ import annotations

import pytest

from octabox.catalog.entries import Component, Field, Parameter, PipelineEntry
from octabox.catalog.tasks import count_extra_inputs, derive_tasks, family_stem, order_tasks, tag_of
from octabox.types import Kind

PROMPT = Parameter("prompt", kind="text")
IMAGE, MAYBE_IMAGE = Parameter("image", kind="image", required=True), Parameter("image", kind="image")
MASK, CONTROL = (
    Parameter("mask_image", kind="mask", required=True),
    Parameter("control_image", kind="image", required=True),
)
VIDEO, AUDIO = Parameter("video", kind="video", required=True), Parameter("audio", kind="audio", required=True)
LABELS = Parameter("class_labels", kind="array", required=True)
SPECTROGRAM, MELS = (Parameter(name, kind="array", required=True) for name in ("spectrogram", "mel_features"))


def entry(
    *parameters: Parameter, gives: Kind = "image", parts: tuple[str, ...] = (), name: str = "ThingPipeline"
) -> PipelineEntry:
    """Return a class with these parameters and this output."""
    components = tuple(Component(part) for part in parts)
    return PipelineEntry(
        name,
        "made.up",
        "made",
        parameters=parameters,
        components=components,
        outputs=(Field("it", kind=gives),),
        output_kind=gives,
    )


@pytest.mark.parametrize(
    ("found", "tasks"),
    [
        (entry(PROMPT), ("text-to-image",)),
        (entry(PROMPT, IMAGE), ("image-to-image",)),
        (entry(PROMPT, MAYBE_IMAGE), ("text-to-image", "image-to-image")),
        (entry(PROMPT, IMAGE, MASK), ("inpainting",)),
        (entry(PROMPT, CONTROL), ("text-to-image",)),
        (entry(PROMPT, IMAGE, parts=("controlnet",)), ("text-to-image",)),
        (entry(PROMPT, IMAGE, parts=("motion_adapter",), gives="video"), ("image-to-video",)),
        (entry(), ("unconditional-image-generation",)),
        (entry(LABELS), ("unconditional-image-generation",)),
        (entry(PROMPT, gives="video"), ("text-to-video",)),
        (entry(PROMPT, IMAGE, VIDEO, gives="video"), ("video-to-video", "image-to-video")),
        (entry(PROMPT, AUDIO, gives="audio"), ("audio-to-audio",)),
        (entry(SPECTROGRAM, gives="audio"), ("audio-to-audio",)),
        (entry(MELS, gives="audio"), ("audio-to-audio",)),
        (entry(Parameter("caramel", kind="array", required=True), gives="audio"), ("unconditional-audio-generation",)),
        (entry(PROMPT, gives="text"), ("text-generation",)),
        (entry(IMAGE, gives="text"), ("image-to-text",)),
        (entry(PROMPT, gives="array"), ("feature-extraction",)),
        (entry(IMAGE, gives="array"), ("image-to-image",)),
    ],
)
def test_inputs_and_outputs_make_the_task(found: PipelineEntry, tasks: tuple[str, ...]) -> None:
    """What a call takes and gives decides what it is for, first of all what it needs."""
    assert tasks == derive_tasks(found)


def test_a_name_decides_what_a_signature_leaves_open() -> None:
    """Called after a task that brings files, a class is not for words alone; one for inpainting is for nothing else."""
    edit, fill = entry(PROMPT, MAYBE_IMAGE, name="ThingEditPipeline"), entry(PROMPT, name="ThingFillPipeline")
    open_tasks = ("text-to-image", "image-to-image", "inpainting")

    assert ("image-to-image", "inpainting") == order_tasks(edit, open_tasks, [])
    assert ("inpainting",) == order_tasks(fill, open_tasks, [])


def test_tables_decide_what_a_signature_leaves_open() -> None:
    """A class that diffusers lists for images alone is for images; a listing for another output does not count."""
    both = ("text-to-image", "image-to-image")

    assert ("image-to-image",) == order_tasks(entry(PROMPT, MAYBE_IMAGE), both, ["image-to-image"])
    assert ("text-to-video",) == order_tasks(entry(PROMPT, gives="video"), ("text-to-video",), ["text-to-image"])


@pytest.mark.parametrize(
    ("alias", "tag"),
    [
        ("txt2img", "text-to-image"),
        ("Text2Image", "text-to-image"),
        ("img2img", "image-to-image"),
        ("depth2img", "image-to-image"),
        ("upscale", "image-to-image"),
        ("inpaint", "inpainting"),
        ("txt2vid", "text-to-video"),
        ("IMG2VID", "image-to-video"),
        ("txt2audio", "text-to-audio"),
        ("text_to_image", "text-to-image"),
        ("nothing", None),
    ],
)
def test_aliases_lead_to_tags(alias: str, tag: str | None) -> None:
    """What people call a task leads to the Hub's tag, however it is spelled."""
    assert tag == tag_of(alias)


def test_a_class_may_need_more_than_its_task_brings() -> None:
    """Files, values and parts beyond those of the task are counted."""
    assert 0 == count_extra_inputs(entry(PROMPT, IMAGE, MASK), "inpainting")
    assert 2 == count_extra_inputs(entry(PROMPT, CONTROL, parts=("controlnet",)), "text-to-image")
    assert 1 == count_extra_inputs(entry(LABELS), "unconditional-image-generation")


def test_stems_are_words() -> None:
    """A class name in words is what families are called."""
    assert "stable-diffusion-xl" == family_stem("StableDiffusionXLPipeline")
    assert "qwen-image" == family_stem("QwenImageModularPipeline")
