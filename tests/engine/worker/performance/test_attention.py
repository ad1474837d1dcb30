"""Attention backends in real denoisers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

import makers
from octabox.engine.worker.performance.attention import available_backends, is_lossy, set_attention
from octabox.errors import LoadError, OctaboxError


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """Put the process's own backend back; in Octabox a process has one model."""
    yield
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


def denoiser(name: str, component: str) -> dict[str, Any]:
    """Return the denoiser of a tiny pipeline by its name."""
    return {component: getattr(makers.pipelines()[name].make(), component)}


def test_a_transformer_takes_a_backend() -> None:
    """Its processors have it afterwards."""
    parts = denoiser("FluxPipeline", "transformer")
    took = set_attention("_native_math", parts, "m", "cpu")
    backends = {getattr(each, "_attention_backend", None) for each in parts["transformer"].attn_processors.values()}

    assert ["transformer"] == took
    assert {AttentionBackendName._NATIVE_MATH} == backends


def test_an_older_unet_takes_none_in_silence() -> None:
    """What diffusers would ignore is refused, with what the class takes; its own is no change."""
    parts = denoiser("StableDiffusionPipeline", "unet")
    with pytest.raises(LoadError) as caught:
        set_attention("_native_math", parts, "m", "cpu")

    assert "native" in caught.value.choices
    assert ["unet"] == set_attention("native", parts, "m", "cpu")


def test_a_backend_that_cannot_compute_here_is_refused() -> None:
    """One for another device is tried on a small example, and those that can are named."""
    with pytest.raises(OctaboxError) as caught:
        set_attention("_native_cudnn", denoiser("FluxPipeline", "transformer"), "m", "cpu")

    assert "native" in caught.value.choices


def test_what_is_installed_is_told() -> None:
    """The native backends need no package."""
    assert {"native", "_native_math"} <= set(available_backends())
    assert (True, False, False) == (is_lossy("sage"), is_lossy("flash"), is_lossy(None))
