"""The attention that a model computes with is read from the model itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, SlicedAttnProcessor

import makers
from calling import call, run
from control import PARAMS, PLAIN, runner
from ip_adapters import save_encoder, save_ip_adapter
from makers.samples import sample_image
from octabox.engine.worker.performance.attention import set_attention
from octabox.engine.worker.performance.attention_report import AttentionReport, default_backend


@pytest.fixture(autouse=True)
def backend() -> Iterator[None]:
    """Put the process's own backend back; in Octabox a process has one model."""
    yield
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


def test_a_transformer_has_the_backend_that_was_set() -> None:
    """By default that of diffusers, else the one of the settings, else that of the process."""
    parts = {"transformer": makers.pipelines()["FluxPipeline"].make().transformer}
    before = AttentionReport(parts).describe()
    set_attention("_native_math", parts, "m", "cpu")

    assert {"transformer": "FluxAttnProcessor (native)"} == before
    assert {"transformer": "FluxAttnProcessor (_native_math)"} == AttentionReport(parts).describe()


def test_the_backend_of_the_process_is_the_default() -> None:
    """As `DIFFUSERS_ATTN_BACKEND` sets it."""
    parts = {"transformer": makers.pipelines()["FluxPipeline"].make().transformer}
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName._NATIVE_FLASH)

    assert "_native_flash" == default_backend()
    assert {"transformer": "FluxAttnProcessor (_native_flash)"} == AttentionReport(parts).describe()


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (AttnProcessor2_0(), "AttnProcessor2_0 (native)"),
        (AttnProcessor(), "AttnProcessor (matrix products)"),
        (SlicedAttnProcessor(1), "SlicedAttnProcessor (matrix products)"),
    ],
)
def test_an_older_unet_has_what_its_processors_call(processor: Any, expected: str) -> None:
    """Their source tells it."""
    unet = makers.pipelines()["StableDiffusionPipeline"].make().unet
    unet.set_attn_processor(processor)

    assert {"unet": expected} == AttentionReport({"unet": unet}).describe()


def test_a_module_without_processors_is_left_out() -> None:
    """What it calls is not known."""
    unet = makers.pipelines()["StableDiffusionPipeline"].make().unet

    assert {} == AttentionReport({"vae": unet.conv_in}).describe()


def test_outputs_and_the_status_have_it() -> None:
    """Also where nothing is configured."""
    model = runner()

    ((output,),) = (run(model, call(PLAIN, PARAMS | {"num_inference_steps": 1})).outputs,)

    assert {"unet": "AttnProcessor2_0 (native)"} == output[2]["attention"]
    assert {"unet": "AttnProcessor2_0 (native)"} == model._model.performance.report.attention


def test_an_ip_adapter_replaces_it_for_its_call(tmp_path: Path) -> None:
    """The next call without an image has the processors of the model again."""
    save_ip_adapter(tmp_path / "ip.safetensors")
    save_encoder(tmp_path / "image_encoder")
    model = runner(ip_adapters=({"model": str(tmp_path / "ip.safetensors")},))
    params = PARAMS | {"num_inference_steps": 1}

    with_image = run(model, call(PLAIN, params, inputs={"ip_adapter_image": (sample_image(),)})).outputs[0][2]
    without = run(model, call(PLAIN, params)).outputs[0][2]

    assert "IPAdapterAttnProcessor2_0 (native)" in with_image["attention"]["unet"]
    assert {"unet": "AttnProcessor2_0 (native)"} == without["attention"]
