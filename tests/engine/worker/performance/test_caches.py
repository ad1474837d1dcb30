"""Step caches in real denoisers: what they leave out, and that nothing of them stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import makers
from octabox.config.performance import CacheConfig
from octabox.engine.worker.performance.caches import StepCaches, cache_classes

STEPS = 6


def transformer(name: str = "FluxPipeline") -> tuple[Any, StepCaches]:
    """Return a tiny pipeline and the caches of its transformer."""
    pipe = makers.pipelines()[name].make()
    pipe.set_progress_bar_config(disable=True)
    return pipe, StepCaches(pipe, {"transformer": pipe.transformer})


def result(pipe: Any) -> Any:
    """Return the image of a short call."""
    generator, sizes = torch.Generator().manual_seed(0), {"height": 32, "width": 32, "max_sequence_length": 16}
    return pipe("a star", num_inference_steps=STEPS, generator=generator, output_type="np", **sizes).images[0]


def count_calls(pipe: Any) -> list[int]:
    """Return a counter of the calls of the transformer's last block."""
    counter, last = [0], pipe.transformer.single_transformer_blocks[-1]
    inner = last.attn
    inner.register_forward_pre_hook(lambda *_: counter.__setitem__(0, counter[0] + 1))
    return counter


def test_the_installed_library_says_which_caches_there_are() -> None:
    """Their names are those of their configurations."""
    assert {"first_block_cache", "faster_cache", "pyramid_attention_broadcast"} <= set(cache_classes())


def test_steps_are_left_out_by_budget() -> None:
    """A budget of one skips most of the later blocks, a tiny one none; each call starts with an empty cache."""
    calls = {}
    for budget in (1.0, 1e-6):
        pipe, caches = transformer()
        counter = count_calls(pipe)
        reason = caches.enable(CacheConfig(method="auto", budget=budget))
        with caches.running(pipe) as left_out:
            first = result(pipe)
        with caches.running(pipe):
            second = result(pipe)
        calls[budget] = counter[0]

        assert ("", "", "first_block_cache") == (reason, left_out, caches.method)
        assert caches.lossy
        assert np.array_equal(first, second)

    assert 2 * STEPS == calls[1e-6]
    assert STEPS > calls[1.0]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("pyramid_attention_broadcast", {"spatial_attention_block_skip_range": 2}),
        ("taylor_seer_cache", {"cache_interval": 2, "disable_cache_before_step": 1}),
        ("text_kv_cache", {}),
    ],
)
def test_each_cache_takes_its_own_settings(method: str, settings: dict[str, Any]) -> None:
    """The image is like that without, and of a cache that is not lossy the same."""
    pipe, caches = transformer()
    before = result(pipe)
    reason = caches.enable(CacheConfig(method=method, settings=settings))
    with caches.running(pipe):
        difference = float(np.abs(result(pipe) - before).max())

    assert "" == reason
    assert 0.1 > difference
    assert caches.lossy is (method != "text_kv_cache")
    assert caches.lossy or not difference


@pytest.mark.parametrize("method", ["mag_cache", "first_block_cache"])
def test_a_cache_that_cannot_be_leaves_nothing_behind(method: str) -> None:
    """One that lacks its settings, and one whose blocks are not there: the reason is returned, the model as before."""
    pipe, caches = transformer()
    if method == "first_block_cache":
        pipe.transformer.transformer_blocks = torch.nn.ModuleList()
        pipe.transformer.single_transformer_blocks = pipe.transformer.single_transformer_blocks[:1]
    before = result(pipe)

    assert method in caches.enable(CacheConfig(method=method))
    assert not pipe.transformer.is_cache_enabled
    assert np.array_equal(before, result(pipe))


def test_a_pipeline_that_does_not_tell_its_calls_apart_has_no_such_cache() -> None:
    """It is refused for such a model, and disabled with a warning for calls of such a sibling."""
    pipe, caches = transformer()
    caches.enable(CacheConfig(method="first_block_cache", budget=1.0))

    class Sibling:
        def __call__(self) -> bool:
            """Return whether a cache is in effect, like a pipeline without support for caches."""
            return bool(pipe.transformer.is_cache_enabled)

    with caches.running(Sibling()) as reason:
        during = Sibling()()

    assert "Sibling" in reason
    assert (False, True) == (during, pipe.transformer.is_cache_enabled)
    assert "Sibling" in StepCaches(Sibling(), {"transformer": transformer()[0].transformer}).enable(
        CacheConfig(method="first_block_cache")
    )


def test_a_model_without_caches_says_so() -> None:
    """A UNet supports no diffusers cache, and the package that may support it is named."""
    pipe = makers.pipelines()["StableDiffusionXLPipeline"].make()
    reason = StepCaches(pipe, {"unet": pipe.unet}).enable(CacheConfig())

    assert "unet does not support step caches" in reason
    assert "cache_dit" in reason


def test_cache_dit_leaves_steps_out() -> None:
    """The extra caches a transformer by the same budget."""
    pytest.importorskip("cache_dit")
    pipe, caches = transformer()
    before = result(pipe)
    reason = caches.enable(CacheConfig(method="cache_dit", budget=0.9, settings={"max_warmup_steps": 1}))

    assert "" == reason
    assert 0.1 > float(np.abs(result(pipe) - before).max()) > 0
