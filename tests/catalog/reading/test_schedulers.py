"""What is read of noise schedulers, and of what pipelines hand them."""

from __future__ import annotations

import pytest

from octabox.catalog.pipelines import load_catalog


@pytest.mark.parametrize(
    ("name", "step_needs", "timesteps", "sigmas", "reverses"),
    [
        ("EulerDiscreteScheduler", (), True, True, False),
        ("DDIMScheduler", (), False, False, False),
        ("DDIMInverseScheduler", (), False, False, True),
        ("RePaintScheduler", ("original_image", "mask"), False, False, False),
        ("ScoreSdeVpScheduler", ("step",), False, False, False),
    ],
)
def test_how_a_scheduler_is_stepped_is_read_from_its_methods(
    name: str, step_needs: tuple[str, ...], timesteps: bool, sigmas: bool, reverses: bool
) -> None:
    """What a step asks for, whether its steps can be written out, and whether it runs backwards."""
    entry = load_catalog().scheduler(name)

    assert (step_needs, timesteps, sigmas, reverses) == (
        entry.step_needs,
        entry.timesteps,
        entry.sigmas,
        entry.reverses,
    )


def test_what_chooses_no_timesteps_is_no_scheduler() -> None:
    """Diffusers files a maker of spectrograms among them."""
    assert "Mel" not in load_catalog().schedulers


@pytest.mark.parametrize(
    ("name", "hands"),
    [
        ("QwenImagePipeline", True),
        ("LTXPipeline", True),
        ("FluxPipeline", False),
        ("WanPipeline", False),
        ("StableDiffusionXLPipeline", False),
    ],
)
def test_a_pipeline_that_makes_noise_levels_for_its_scheduler_is_told(name: str, hands: bool) -> None:
    """One that first asks the scheduler whether it wants any is not."""
    assert hands == load_catalog().pipelines[name].sigmas
