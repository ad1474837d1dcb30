"""A refiner runs the last steps: on the latents where both pipelines can, else over the finished image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from demo_pictures import border_colour, centre_colour
from octabox.errors import InvalidParameterError, ModelNotFoundError
from workflow_images import Drawing

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
