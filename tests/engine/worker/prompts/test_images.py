"""What weights, pieces and skipped layers do to the embedded model's images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diffusers import DiffusionPipeline

from calling import call, run
from octabox import demo
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.runner import RawOutput, Runner
from octabox.errors import InvalidParameterError

OWN = "StableDiffusionPipeline"

#: How many seeds are looked at, and how many where a weight is put to the test, in few steps.
SEEDS, MANY, FEW = 8, 32, 4

#: Where the shape is, in each direction.
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
    return np.stack([np.asarray(product.value) for product, *_ in done.products]).astype(float)


def redness(done: RawOutput) -> np.ndarray:
    """Return how much redder than anything else the middle of each image is."""
    middle = images(done)[:, CENTRE, CENTRE].mean((1, 2))
    return np.asarray(middle[:, 0] - middle[:, 1:].max(axis=1))


def test_a_colour_that_weighs_more_is_seen_more(runner: Runner) -> None:
    """Of two colours that one shape is said to have, the one that weighs 1.5 wins, with every seed and in both syntaxes."""
    as_they_stand = redness(made(runner, "a red green circle on a black background", MANY, num_inference_steps=FEW))
    more = redness(made(runner, "a (red:1.5) green circle on a black background", MANY, num_inference_steps=FEW))
    by_compel = redness(
        made(runner, "a (red)1.5 green circle on a black background", SEEDS, "compel", num_inference_steps=FEW)
    )

    assert (MANY,) == more.shape
    assert (as_they_stand < 0).all()
    assert (more > 100).all()
    assert (by_compel > 100).all()


def test_what_weighs_less_is_seen_less(runner: Runner) -> None:
    """A colour that weighs little gives way."""
    found = redness(made(runner, "a yellow (red:0.1) circle on a white background", SEEDS))

    assert (redness(made(runner, "a yellow red circle on a white background", SEEDS)) > 100).all()
    assert (found < 100).all()


def test_plain_words_are_not_weighed(runner: Runner) -> None:
    """Where prompts are plain, a bracket is a letter of the prompt, which metadata show as it was written."""
    done = made(runner, "a red circle", syntax="plain")
    weighed = made(runner, "a (red:1.5) circle")

    assert "prompt_syntax" not in done.products[0][2]
    assert "a1111" == weighed.products[0][2]["prompt_syntax"]
    assert "a (red:1.5) circle" == weighed.products[0][2]["params"]["prompt"]


def test_the_last_words_of_a_long_prompt_are_seen(runner: Runner) -> None:
    """They go in, and nothing is said of a cut."""
    words = "a large circle. " * 6
    red = made(runner, f"{words}a red circle on a white background", SEEDS)
    blue = made(runner, f"{words}a blue circle on a white background", SEEDS)

    assert () == red.warnings
    assert (redness(red) > 100).all()
    assert (redness(blue) < 0).all()


def test_a_remembered_prompt_gives_the_same_bytes(runner: Runner) -> None:
    """The second call of a prompt encodes nothing, and its images are the same to the last bit."""
    for prompt in ("a blue star", "a (blue:1.3) star", "a blue star BREAK on a white background"):
        first, misses = made(runner, prompt, 2), runner._memory.misses
        second = made(runner, prompt, 2)

        assert misses == runner._memory.misses
        assert np.array_equal(images(first), images(second))
        assert not np.array_equal(images(first)[0], images(first)[1])


def test_skipped_layers(runner: Runner) -> None:
    """1 takes the last layer but one, 0 the last, as no number does; a weight counts in any layer."""
    none, zero, one = (images(made(runner, "a red green circle", clip_skip=skipped)) for skipped in (None, 0, 1))
    weighed = images(made(runner, "a (red:1.5) green circle", clip_skip=1))

    assert np.abs(none - zero).max() <= 1
    assert np.abs(none - one).mean() > 5
    assert np.abs(weighed - one).mean() > 5


@pytest.mark.parametrize("skipped", [-1, 2, 99])
def test_there_are_no_more_layers(runner: Runner, skipped: int) -> None:
    """More than there are cannot be left out, and the error says how many can."""
    with pytest.raises(InvalidParameterError, match="'clip_skip' must be from 0 to 1") as caught:
        made(runner, "a red circle", clip_skip=skipped)
    assert "clip_skip" == caught.value.parameter
