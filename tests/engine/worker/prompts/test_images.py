"""Weights, long prompts and skipped layers change the images of the embedded model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diffusers import DiffusionPipeline

from calling import call, run
from octabox import demo
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.runner import Runner
from octabox.errors import InvalidParameterError

pytestmark = pytest.mark.slow

OWN = "StableDiffusionPipeline"

#: Numbers of seeds, and the number of steps with many of them.
SEEDS, MANY, FEW = 8, 32, 4

#: The pixels of the shape, in each direction.
CENTRE = slice(48, 80)


@pytest.fixture(scope="module")
def runner() -> Runner:
    """Return a runner of the embedded model."""
    pipe = DiffusionPipeline.from_pretrained(demo.FOLDER)
    pipe.set_progress_bar_config(disable=True)
    return Runner(LoadedModel(pipe, "cpu"))


def made(runner: Runner, prompt: str, seeds: int = 1, syntax: str = "a1111", **params: Any) -> RawOutput:
    """Return a call's outputs."""
    params = {"prompt": prompt, "num_inference_steps": 8, "guidance_scale": 3.0, **params}
    return run(runner, call(OWN, params, seeds=tuple(range(seeds)), prompt_syntax=syntax))


def images(done: RawOutput) -> np.ndarray:
    """Return the images of a call, of shape (seeds, height, width, 3)."""
    return np.stack([np.asarray(item.value) for item, *_ in done.outputs]).astype(float)


def redness(done: RawOutput) -> np.ndarray:
    """Return how much redder than green and blue the centre of each image is."""
    middle = images(done)[:, CENTRE, CENTRE].mean((1, 2))
    return np.asarray(middle[:, 0] - middle[:, 1:].max(axis=1))


def test_a_weight_above_one(runner: Runner) -> None:
    """Of two colours the one with the weight 1.5 is visible, with every seed and in both syntaxes."""
    unweighted = redness(made(runner, "a red green circle on a black background", MANY, num_inference_steps=FEW))
    more = redness(made(runner, "a (red:1.5) green circle on a black background", MANY, num_inference_steps=FEW))
    by_compel = redness(
        made(runner, "a (red)1.5 green circle on a black background", SEEDS, "compel", num_inference_steps=FEW)
    )

    assert (MANY,) == more.shape
    assert (unweighted < 0).all()
    assert (more > 100).all()
    assert (by_compel > 100).all()


def test_a_weight_below_one(runner: Runner) -> None:
    """A colour with a small weight is not visible."""
    found = redness(made(runner, "a yellow (red:0.1) circle on a white background", SEEDS))

    assert (redness(made(runner, "a yellow red circle on a white background", SEEDS)) > 100).all()
    assert (found < 100).all()


def test_plain_prompts(runner: Runner) -> None:
    """A plain prompt has no weights, and the metadata have the prompt as it was written."""
    done = made(runner, "a red circle", syntax="plain")
    weighted = made(runner, "a (red:1.5) circle")

    assert "prompt_syntax" not in done.outputs[0][2]
    assert "a1111" == weighted.outputs[0][2]["prompt_syntax"]
    assert "a (red:1.5) circle" == weighted.outputs[0][2]["params"]["prompt"]


def test_long_prompts(runner: Runner) -> None:
    """The last words have an effect, and there is no warning about truncation."""
    words = "a large circle. " * 6
    red = made(runner, f"{words}a red circle on a white background", SEEDS)
    blue = made(runner, f"{words}a blue circle on a white background", SEEDS)

    assert () == red.warnings
    assert (redness(red) > 100).all()
    assert (redness(blue) < 0).all()


def test_cached_prompts(runner: Runner) -> None:
    """The second call of a prompt encodes nothing, and gives equal images."""
    for prompt in ("a blue star", "a (blue:1.3) star", "a blue star BREAK on a white background"):
        first, misses = made(runner, prompt, 2), runner._embed_cache.misses
        second = made(runner, prompt, 2)

        assert misses == runner._embed_cache.misses
        assert np.array_equal(images(first), images(second))
        assert not np.array_equal(images(first)[0], images(first)[1])


def test_skipped_layers(runner: Runner) -> None:
    """0 is the last layer as without the parameter, 1 the one before; weights apply to each."""
    none, zero, one = (images(made(runner, "a red green circle", clip_skip=skipped)) for skipped in (None, 0, 1))
    weighted = images(made(runner, "a (red:1.5) green circle", clip_skip=1))

    assert np.abs(none - zero).max() <= 1
    assert np.abs(none - one).mean() > 5
    assert np.abs(weighted - one).mean() > 5


@pytest.mark.parametrize("skipped", [-1, 2, 99])
def test_too_many_skipped_layers(runner: Runner, skipped: int) -> None:
    """The error states how many layers can be skipped."""
    with pytest.raises(InvalidParameterError, match="'clip_skip' must be from 0 to 1") as caught:
        made(runner, "a red circle", clip_skip=skipped)
    assert "clip_skip" == caught.value.parameter
