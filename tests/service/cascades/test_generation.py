"""Cascades as one request: the same bytes as the stages by hand, one progress, one metadata."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from octabox.errors import InvalidParameterError, InvalidRequestError, OctaboxError
from octabox.frontends.naming.renaming import rename_error_params
from octabox.server import Parts
from octabox.service.cascades.calls import CascadeCall
from octabox.types import Generation, GenerationRequest, OutputFormat, Progress

PROMPT = "a red star"


async def generate(parts: Parts, model: str, **fields: Any) -> tuple[Generation, list[Progress]]:
    """Make an image with a cascade, and return the result and its progress."""
    fields = {"params": {"prompt": PROMPT}, "seed": 7, **fields}
    progress: list[Progress] = []
    async for event in parts.generation.stream(GenerationRequest(model=model, **fields)):
        if isinstance(event, Generation):
            return event, progress
        progress.append(event)
    raise AssertionError("no result")


def pixels(content: bytes) -> np.ndarray:
    """Return the pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_hand(folder: Path, kind: str, name: str) -> Any:
    """Return a pipeline as diffusers loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = getattr(diffusers, kind).from_pretrained(str(folder / "weights" / name))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded() -> torch.Generator:
    """Return the generator of each stage."""
    return torch.Generator("cpu").manual_seed(7)


async def test_stages_of_pixels_pass_on_tensors(parts: Parts, folder: Path) -> None:
    """DeepFloyd's second stage gets the tensor of the first, as by hand; the progress and the metadata are of both."""
    small = by_hand(folder, "IFPipeline", "small")
    image = small(PROMPT, num_inference_steps=2, height=16, width=16, generator=seeded(), output_type="pt").images
    larger = by_hand(folder, "IFSuperResolutionPipeline", "larger")
    options = {"num_inference_steps": 2, "height": 32, "width": 32, "noise_level": 100, "generator": seeded()}
    expected = np.asarray(larger(prompt=PROMPT, image=image, **options).images[0])
    result, progress = await generate(parts, "floyd")
    assert (pixels(result.artifacts[0].content) == expected).all()
    assert (result.model, result.task) == ("floyd", "text-to-image")
    assert [each.part for each in progress if each.phase == "running"] == sorted(
        each.part for each in progress if each.phase == "running"
    )
    assert {(each.part, each.parts) for each in progress} >= {(1, 2), (2, 2)}
    metadata = result.artifacts[0].metadata
    assert (metadata["model"], metadata["params"]["height"], metadata["seed"]) == ("floyd", 16, 7)
    assert [each["model"] for each in metadata["stages"]] == ["small", "floyd:2"]
    assert [each["pipeline"] for each in metadata["stages"]] == ["IFPipeline", "IFSuperResolutionPipeline"]
    assert metadata["stages"][1]["params"]["noise_level"] == 100
    assert all(each["seconds"] >= 0 for each in metadata["stages"])
    assert metadata["size"] == {"width": 32, "height": 32}


async def test_errors_name_the_stage(parts: Parts) -> None:
    """What a request sets for a stage is checked before anything runs, and an error names the stage and the setting."""
    workflow = {"stages": [None, {"params": {"noise_lvl": 3}}]}
    with pytest.raises(OctaboxError, match=r"^Stage 2 of 'floyd': .*noise_lvl") as caught:
        await generate(parts, "floyd", workflow=workflow)
    assert caught.value.parameter == "workflow.stages.1.params.noise_lvl"
    mistakes = {"a": 1, "num_inference_steps": "many"}
    for index in range(2):
        with pytest.raises(InvalidRequestError) as several, rename_error_params({"num_inference_steps": "steps"}):
            await generate(parts, "floyd", workflow={"stages": [None] * index + [{"params": mistakes}]})
        names = {f"workflow.stages.{index}.params.{name}" for name in mistakes}
        assert names == {each.parameter for each in several.value.problems}
        assert several.value.parameter in names
        assert several.value.message.count(f"Stage {index + 1} of 'floyd': ") == 2
    with pytest.raises(OctaboxError) as caught:
        await generate(parts, "floyd", workflow=workflow | {"stages": [None, {}]}, output=OutputFormat("mp4"))
    assert "workflow" not in str(caught.value.parameter)
    with pytest.raises(OctaboxError) as caught:
        await generate(parts, "floyd", workflow={"stages": [None, {"scheduler": "nosuch"}]})
    assert caught.value.parameter == "workflow.stages.1.scheduler"
    with pytest.raises(
        OctaboxError, match=r"Stage 2 of 'broken' cannot follow: IFPipeline returns images.*image_embeds"
    ):
        await generate(parts, "broken")
    with pytest.raises(InvalidParameterError, match="'floyd' has 2 stages, not 3"):
        await generate(parts, "floyd", workflow={"stages": [None, None, {"params": {}}]})
    with pytest.raises(InvalidParameterError, match="'small' has no stages"):
        await generate(parts, "small", workflow={"stages": [{"params": {}}]})
    with pytest.raises(OctaboxError, match="'floyd' cannot do text-to-video"):
        await generate(parts, "floyd", task="text-to-video")


async def test_how_long_it_stays_is_the_same_for_all_stages(parts: Parts) -> None:
    """Of a request that generates, and of a load for those that are in memory."""
    call = await parts.generation.prepare(GenerationRequest("floyd", params={"prompt": PROMPT}, keep_alive=40))
    assert isinstance(call, CascadeCall)
    assert [each.call.keep_alive for each in call.stages] == [40, 40]

    await generate(parts, "floyd", keep_alive=40)
    assert {"small": 40, "floyd:2": 40} == _left(parts)
    await parts.models.load("floyd", keep_alive=80)
    assert {"small": 80, "floyd:2": 80} == _left(parts)


def _left(parts: Parts) -> dict[str, float]:
    """Return after how many seconds without requests the stages of a cascade are unloaded, in tens."""
    left = {each.model: each.time_left for each in parts.models.status() if each.model in ("small", "floyd:2")}
    return {name: round(seconds or 0, -1) for name, seconds in left.items()}


async def test_a_request_sets_the_parameters_of_each_stage(parts: Parts) -> None:
    """Several outputs keep their own seeds through both stages, and a workflow may follow."""
    stages = [{"params": {"num_inference_steps": 1}}, {"params": {"noise_level": 5, "num_inference_steps": 1}}]
    workflow = {"stages": stages, "upscale": {"upscaler": "nearest", "scale": 2}}
    result, _ = await generate(parts, "floyd", workflow=workflow, num_outputs=2)
    assert [each.metadata["seed"] for each in result.artifacts] == [7, 8]
    assert [each.metadata["stages"][1]["seed"] for each in result.artifacts] == [7, 8]
    assert {each.metadata["stages"][1]["params"]["noise_level"] for each in result.artifacts} == {5}
    requested = [None, {"params": {"noise_level": 5, "num_inference_steps": 1}}]
    assert result.artifacts[0].metadata["workflow"]["stages"] == requested
    assert result.artifacts[0].metadata["params"]["num_inference_steps"] == 1
    assert pixels(result.artifacts[0].content).shape == (64, 64, 3)
    assert (pixels(result.artifacts[0].content) != pixels(result.artifacts[1].content)).any()


async def test_faces_are_restored_after_it(parts: Parts) -> None:
    """The first model that restores faces follows; an image without a face has a warning."""
    result, _ = await generate(parts, "floyd", workflow={"faces": 0.5})
    assert "No face was found in the image, which is returned as it is." in result.warnings
    assert result.artifacts[0].metadata["workflow"] == {"faces": {"strength": 0.5}}
    with pytest.raises(InvalidParameterError, match="'small' is a IFPipeline, which does not restore faces") as caught:
        await generate(parts, "floyd", workflow={"faces": {"model": "small"}})
    assert caught.value.choices == ("mender",)


async def test_a_cascade_is_listed_as_one_model(parts: Parts) -> None:
    """It has the tasks of what it makes in the end, the parameters of its first stage, and its problems are told."""
    models = {each.name: each for each in parts.models.snapshot().list()}
    # The prior has a sibling that starts from an image.
    assert models["kandinsky"].tasks == ("text-to-image", "image-to-image")
    assert models["floyd"].source == "small > weights/larger"
    schema = parts.models.snapshot().schema("floyd")
    assert schema["properties"]["height"]["default"] == 16
    problems = [each for each in parts.models.problems() if each.file.name == "broken.yaml"]
    assert [each.key for each in problems] == ["stages"]
    assert "KandinskyV22Pipeline needs image_embeds and negative_image_embeds" in problems[0].message


async def test_cancelling_ends_the_stage_that_runs(parts: Parts) -> None:
    """A request that is closed in its second stage leaves no stage running."""
    events = parts.generation.stream(GenerationRequest(model="floyd", params={"prompt": PROMPT}, seed=7))
    async for event in events:
        if isinstance(event, Progress) and event.part == 2:
            break
    await events.aclose()
    assert await generate(parts, "floyd", workflow={"stages": [None, {"params": {"num_inference_steps": 1}}]})


@pytest.mark.slow
async def test_embeddings_pass_by_their_names(parts: Parts, folder: Path) -> None:
    """Kandinsky's prior makes what its decoder needs, which takes no prompt."""
    prior = by_hand(folder, "KandinskyV22PriorPipeline", "prior")
    made = prior(PROMPT, num_inference_steps=2, generator=seeded())
    painter = by_hand(folder, "KandinskyV22Pipeline", "painter")
    embeds = {"image_embeds": made.image_embeds, "negative_image_embeds": made.negative_image_embeds}
    options = {"num_inference_steps": 2, "height": 32, "width": 32, "generator": seeded()}
    expected = np.asarray(painter(**embeds, **options).images[0])
    result, _ = await generate(parts, "kandinsky")
    assert (pixels(result.artifacts[0].content) == expected).all()


@pytest.mark.slow
async def test_a_refiner_continues_with_the_latents(parts: Parts, folder: Path) -> None:
    """SDXL's refiner takes over unfinished latents, as its documentation shows."""
    base = by_hand(folder, "StableDiffusionXLPipeline", "base")
    refiner = by_hand(folder, "StableDiffusionXLImg2ImgPipeline", "base")
    shared = {"prompt": PROMPT, "num_inference_steps": 4}
    first = {"height": 32, "width": 32, "denoising_end": 0.5, "output_type": "latent"}
    with warnings.catch_warnings():
        # Its scheduler converts tensors in a way that numpy deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        latents = base(**shared, **first, generator=seeded()).images
        image = refiner(**shared, image=latents, denoising_start=0.5, generator=seeded()).images[0]
    expected = np.asarray(image)
    result, _ = await generate(parts, "refined")
    assert (pixels(result.artifacts[0].content) == expected).all()
