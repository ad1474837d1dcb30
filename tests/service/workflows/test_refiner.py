"""A refiner runs the last steps: on the latents where both pipelines can, else over the finished image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demo_pictures import border_colour, centre_colour
from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.service.workflows.followups import END
from octabox.types import SchedulerChoice
from workflow_images import Drawing, opened

#: What all of them ask a tiny model for that can end early and continue.
BASE: dict[str, Any] = {"model": "base", "scheduler": None, "num_inference_steps": 8, "guidance_scale": 5.0}


async def pixels(draw: Drawing, workflow: dict[str, Any] | None = None, **options: Any) -> np.ndarray:
    """Return the pixels of an image."""
    return np.asarray(await draw.image(workflow, **{**BASE, **options}), float)


@pytest.mark.slow
async def test_the_latents_are_handed_over(draw: Drawing) -> None:
    """With the same model as refiner the image is nearly that of one run; the steps are divided."""
    plain = await pixels(draw)
    handed = await pixels(draw, {"refiner": {"model": "base", "switch_at": 0.5}})
    steps = draw.steps(1), draw.steps(2)
    early = await pixels(draw, denoising_end=0.5)
    result = await draw({"refiner": {"model": "base", "switch_at": 0.5}}, **BASE)

    assert (4, 4) == steps
    assert np.abs(plain - handed).max() <= 2
    assert np.abs(plain - early).mean() > 2 * np.abs(plain - handed).mean()
    assert {"model": "base", "switch_at": 0.5} == result.artifacts[0].metadata["workflow"]["refiner"]
    assert not [each for each in result.warnings if "refiner" in each.lower() or "denoising" in each]


@pytest.mark.slow
async def test_it_paints_over_the_image_where_it_cannot(draw: Drawing) -> None:
    """The reason is a warning; what the image shows stays."""
    result = await draw({"refiner": {"model": "twin", "switch_at": 0.75}})
    made = await draw.image({"refiner": {"model": "twin", "switch_at": 0.75}})
    warnings = [each for each in result.warnings if each.startswith("The refiner paints over the finished image")]

    assert ("red", "white") == (centre_colour(made), border_colour(made))
    assert (8, 2) == (draw.steps(1), draw.steps(2))
    assert 1 == len(warnings)
    assert warnings[0].endswith("StableDiffusionPipeline has no 'denoising_end'.")


@pytest.mark.slow
async def test_a_second_pass_follows(draw: Drawing) -> None:
    """It enlarges the refined image; one over latents has none."""
    refiner = {"model": "twin", "switch_at": 0.75}
    made = await draw.image({"refiner": refiner, "hires": {"scale": 1.5, "upscaler": "lanczos"}})

    assert (192, 192) == made.size
    with pytest.raises(InvalidParameterError, match="A refiner makes images, and 'latent' takes latents"):
        await draw({"refiner": refiner, "hires": {"upscaler": "latent"}})


async def test_a_refiner_that_there_is_not(draw: Drawing) -> None:
    """It is refused before anything runs."""
    with pytest.raises(ModelNotFoundError):
        await draw({"refiner": {"model": "nothing"}})
    with pytest.raises(InvalidParameterError, match=r"workflow\.refiner\.switch_at"):
        await draw({"refiner": {"model": "twin", "switch_at": 1.0}})


@pytest.mark.slow
@pytest.mark.parametrize(
    "same",
    [
        {},
        {"scheduler": SchedulerChoice("DDIMScheduler")},
        {"workflow": {"variation": {"seed": 7, "strength": 0.6}}},
        {"workflow": {"noise": {"scale": 0.8}}},
    ],
    ids=["plain", "scheduler", "variation", "noise"],
)
async def test_the_noise_and_its_levels_are_those_of_the_first(draw: Drawing, same: dict[str, Any]) -> None:
    """With another model of the same weights the image is nearly that of one run, also with other noise."""
    workflow, options = same.get("workflow", {}), {"scheduler": same.get("scheduler")}
    plain, other = await pixels(draw, workflow, **options), await pixels(draw)
    result = await draw({**workflow, "refiner": {"model": "finer", "switch_at": 0.5}}, **{**BASE, **options})
    handed = np.asarray(opened(result.artifacts[0].content), float)

    assert (4, 4) == (draw.steps(1), draw.steps(2))
    assert 2 >= np.abs(plain - handed).max()
    assert bool(same) == bool(np.abs(other - handed).max() > 2)
    assert not [each for each in result.warnings if "second pass" in each or "denoising" in each]
    assert END not in result.artifacts[0].metadata["params"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["base", "twin"])
async def test_filters_and_a_second_pass_take_the_refined_image(draw: Drawing, model: str) -> None:
    """All steps of a second pass run, though the first pass has ended early; one may have no such parameter at all."""
    workflow: dict[str, Any] = {"refiner": {"model": "finer", "switch_at": 0.5}, "upscale": {"scale": 2}}
    workflow["hires"] = {"scale": 1.5, "upscaler": "lanczos", "model": model, "strength": 1.0}
    plain = await draw.image(**BASE)
    result = await draw(workflow, **BASE)

    assert (plain.width * 3, plain.height * 3) == opened(result.artifacts[0].content).size
    assert (4, 4, 8) == tuple(draw.steps(part) for part in (1, 2, 3))
    assert not [each for each in result.warnings if "denoising" in each]


async def test_a_part_of_the_workflow_is_checked_with_what_the_one_before_makes(draw: Drawing) -> None:
    """Filters get the image of the refiner, not the latents before it."""
    refiner = {"model": "finer", "switch_at": 0.5}
    for part in ({"upscale": {"scale": 2}}, {"hires": {"upscaler": "lanczos"}}):
        call = await draw.parts.generation.prepare(draw.request({"refiner": refiner, **part}, **BASE))

        assert call.output.latents


@pytest.mark.slow
async def test_the_scheduler_of_another_model_is_a_warning(draw: Drawing) -> None:
    """Over the finished image it has its own, which there is no setting for."""
    result = await draw({"refiner": {"model": "twin"}}, **{**BASE, "scheduler": SchedulerChoice("DDIMScheduler")})

    expected = ["The second pass has the scheduler of 'twin'."]
    assert expected == [each for each in result.warnings if "the scheduler" in each]


async def test_a_refiner_that_cannot_be_used(draw: Drawing) -> None:
    """The error names the refiner, or the parameter that contradicts it."""
    with pytest.raises(InvalidParameterError, match="no pipeline that paints over an image by a strength") as caught:
        await draw.parts.generation.prepare(draw.request({"refiner": {"model": "alone"}}, **BASE))
    assert "workflow.refiner" == caught.value.parameter
    assert caught.value.hint.endswith("or leave out the refiner.")
    with pytest.raises(InvalidParameterError, match="both set when the first model ends"):
        await draw.parts.generation.prepare(draw.request({"refiner": {"model": "finer"}}, **BASE, denoising_end=0.3))
