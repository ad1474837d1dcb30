"""Which calls may share a batch, by what, and how many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from fake_worker import PIPELINE, call
from octabox.catalog.pipelines import load_catalog
from octabox.engine.batches.keys import MAX_MEMBERS, MAX_PIXELS, batch_key, batch_limit, pixels, size_key
from octabox.engine.protocol import Call, Run
from octabox.noise import InitialNoise, LatentFill, Variation
from octabox.types import AdapterChoice

ENTRY = load_catalog().pipeline(PIPELINE)
VIDEO = next(each for each in load_catalog().pipelines.values() if each.batches and each.frames)
PARAMS = {"prompt": "a star", "width": 128, "height": 128}


def of(run: Run, **fields: Any) -> Call:
    """Return a call with one run."""
    return replace(call(**fields), runs=(run,))


def test_texts_and_seeds_may_differ() -> None:
    """The key does not depend on them."""
    key = batch_key(of(Run(PARAMS, seed=1)), ENTRY)

    assert key is not None
    assert key == batch_key(of(Run({**PARAMS, "prompt": "a circle"}, seed=2)), ENTRY)
    assert key == batch_key(replace(of(Run(PARAMS)), runs=(Run(PARAMS), Run(PARAMS, seed=1))), ENTRY)


@pytest.mark.parametrize(
    "run",
    [
        Run({**PARAMS, "negative_prompt": "red"}),
        Run({**PARAMS, "width": 64}),
        Run({**PARAMS, "guidance_scale": 2.0}),
        Run(PARAMS, adapters=(AdapterChoice("x"),)),
        Run(PARAMS, seamless="xy"),
        Run(PARAMS, {"ip_adapter_image": (Image.new("RGB", (8, 8)),)}),
    ],
)
def test_all_else_must_be_equal(run: Run) -> None:
    """Another value has another key."""
    assert batch_key(of(Run(PARAMS)), ENTRY) != batch_key(of(run), ENTRY) is not None
    assert batch_key(replace(of(run), runs=(Run(PARAMS), run)), ENTRY) is None


def test_what_is_missing_is_what_is_none_by_default() -> None:
    """A client that sends null asks for what one asks for that leaves the parameter out."""
    bare = batch_key(of(Run(PARAMS)), ENTRY)

    assert bare == batch_key(of(Run({**PARAMS, "negative_prompt": None, "clip_skip": None})), ENTRY) is not None
    assert bare != batch_key(of(Run({**PARAMS, "guidance_scale": None})), ENTRY)
    assert bare != batch_key(of(Run({**PARAMS, "unknown": None})), ENTRY)


def test_configured_loras_are_those_of_a_run_that_names_none() -> None:
    """So calls of two configurations with other LoRAs differ, and one that names the configured ones does not."""
    configured = of(Run(PARAMS), adapters=[{"lora": "x", "weight": 0.5}])
    keys = [batch_key(each, ENTRY) for each in (configured, of(Run(PARAMS)), of(Run(PARAMS, adapters=())))]

    assert keys[0] != keys[1] == keys[2]
    assert keys[0] == batch_key(of(Run(PARAMS, adapters=(AdapterChoice("x", 0.5),))), ENTRY)


def test_media_must_have_one_size() -> None:
    """Images of one size and mode have one key; lists and other media have none."""
    one, same, other = (Image.new("RGB", (side, 8)) for side in (8, 8, 16))
    keys = [batch_key(of(Run(PARAMS, {"image": (each,)})), ENTRY) for each in (one, same, other)]

    assert keys[0] == keys[1] != keys[2]
    assert batch_key(of(Run(PARAMS, {"image": (one, same)})), ENTRY) is None
    assert batch_key(of(Run(PARAMS, {"image": ([one],)})), ENTRY) is None


@pytest.mark.parametrize(
    "one",
    [
        of(Run(PARAMS), batching="never"),
        of(Run(PARAMS), deterministic=True),
        replace(of(Run(PARAMS)), deterministic=True),
        of(Run(PARAMS, variation=Variation(1, 0.5))),
        of(Run(PARAMS, noise=InitialNoise(scale=0.5))),
        of(Run(PARAMS, latent_fill=LatentFill("blank", "image", "mask"))),
        of(Run({"prompt": ["a", "b"]})),
        of(Run({**PARAMS, "x": object()})),
    ],
)
def test_some_calls_share_no_batch(one: Call) -> None:
    """By the configuration, by the request, or since a value cannot be compared."""
    assert batch_key(one, ENTRY) is None


def test_classes_without_lists_share_no_batch() -> None:
    """Their calls take one prompt or one generator."""
    assert batch_key(of(Run(PARAMS)), replace(ENTRY, batches=False)) is None


def test_the_limit_is_learned_by_size_and_bounded_by_pixels() -> None:
    """A size that is not known runs singly, unless batches are always made; a large one never exceeds the budget."""
    small, large = Run(PARAMS), Run({**PARAMS, "width": 4096, "height": 4096})
    learned = {size_key(small, ENTRY): 4, size_key(large, ENTRY): 4}

    assert f"{PIPELINE} 128x128" == size_key(small, ENTRY)
    assert 4 == batch_limit(of(small), ENTRY, learned, {})
    assert 1 == batch_limit(of(small), ENTRY, {}, {})
    assert MAX_PIXELS // 4096**2 == batch_limit(of(large), ENTRY, learned, {}) < 4
    assert MAX_MEMBERS == batch_limit(of(small, batching="always"), ENTRY, {}, {})


def test_a_limit_after_a_failure_holds_for_batches_that_are_always_made() -> None:
    """Whatever the device is: a batch of eight that failed is not made again, nor a larger one."""
    small = Run(PARAMS)

    assert 4 == batch_limit(of(small, batching="always"), ENTRY, {}, {size_key(small, ENTRY): 4})


def test_frames_count() -> None:
    """A video has the pixels of all its frames."""
    assert VIDEO.frames is not None
    run = Run({**PARAMS, VIDEO.frames.name: 10})

    assert 10 * 128 * 128 == pixels(run, VIDEO)
    assert size_key(run, VIDEO).endswith("10 frames")
    assert 64 * 32 == pixels(Run({}, {"image": (Image.new("RGB", (64, 32)),)}), ENTRY)
