"""The parts of a request to load a model that depend on its pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.errors import ConfigError, InvalidParameterError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest, resolve_components
from octabox.frontends.grpc.localai.loading.options import to_model

STABLE_DIFFUSION = "StableDiffusionPipeline"


def config(**fields: Any) -> ModelConfig:
    """Return the configuration of a model before its pipeline is known."""
    return to_model(contract.ModelOptions(**{"Model": "org/model", **fields}), Environment.load({})).config


def fit(pipeline: str = STABLE_DIFFUSION, *, environ: dict[str, str] | None = None, **fields: Any) -> LoadRequest:
    """Return the model once it is known of which pipeline it is."""
    entry = load_catalog().pipeline(pipeline)
    options = contract.ModelOptions(**{"Model": "org/model", **fields})
    request = to_model(options, Environment.load(environ or {}))
    return resolve_components(request, entry, {each.name for each in entry.parameters})


def test_an_option_that_nothing_takes_is_refused() -> None:
    """An option, or a default of EngineArgs, that is no parameter of the pipeline is named, with the nearest that is."""
    for fields in ({"Options": ["guidance_scal:3"]}, {"EngineArgs": '{"defaults": {"guidance_scal": 3}}'}):
        with pytest.raises(InvalidParameterError) as caught:
            fit(**fields)

        assert "guidance_scal" == caught.value.parameter
        assert "guidance_scale" in caught.value.hint


def test_an_option_may_bring_a_component(tmp_path: Path) -> None:
    """A file that the core names beside a model is a component where the pipeline has one of its name; others are told."""
    for name in ("vae", "readme"):
        (tmp_path / name).mkdir()
    found = fit(Options=["vae:vae", "readme:readme"], ModelPath=str(tmp_path))

    assert str(tmp_path / "vae") == found.config.part("vae").model
    assert "vae" not in found.config.defaults
    assert any("readme" in warning for warning in found.warnings)


@pytest.mark.parametrize("options", [["strength:0.5", "strength.x:1"], ["strength.x:1", "strength:0.5"], ["foo.bar:1"]])
def test_an_option_with_a_dot_is_refused(options: list[str]) -> None:
    """The dot is part of the name, which no parameter has."""
    with pytest.raises(InvalidParameterError) as caught:
        fit("StableDiffusionImg2ImgPipeline", Options=options)

    assert caught.value.parameter in {"strength.x", "foo.bar"}


@pytest.mark.parametrize("pipeline", [STABLE_DIFFUSION, "FluxPipeline", "WanPipeline"])
@pytest.mark.parametrize("fields", [{"Options": ["clip_skip:2"]}, {"EngineArgs": '{"defaults": {"clip_skip": 2}}'}])
def test_a_clip_skip_that_is_switched_off_is_no_option(pipeline: str, fields: dict[str, Any]) -> None:
    """With CLIPSKIP=0 it is left out, also where the pipeline has none."""
    assert "clip_skip" not in fit(pipeline, environ={"CLIPSKIP": "0"}, **fields).config.defaults


def test_quantization_is_for_the_denoiser() -> None:
    """A word quantizes the component that makes the steps; JSON names components."""
    by_word = fit(Quantization="qint8").config.part("unet").quantization
    flux = fit("FluxPipeline", Quantization="nf4").config.components
    named = fit(Quantization='{"vae": {"quant_backend": "quanto", "weights_dtype": "int4"}}').config

    assert {"quant_backend": "quanto", "weights_dtype": "int8"} == by_word
    assert ["transformer"] == list(flux)
    assert {"quant_backend": "quanto", "weights_dtype": "int4"} == named.part("vae").quantization
    with pytest.raises(ConfigError, match="q4_k_m"):
        config(Quantization="q4_k_m")


@pytest.mark.parametrize(
    ("pipeline", "denoisers"),
    [
        ("WanPipeline", {"transformer", "transformer_2"}),
        ("WanImageToVideoPipeline", {"transformer", "transformer_2"}),
        ("Wan22ModularPipeline", {"transformer", "transformer_2"}),
        ("Ideogram4Pipeline", {"transformer", "unconditional_transformer"}),
        ("StableDiffusionControlNetPipeline", {"unet"}),
        ("StableCascadePriorPipeline", {"prior"}),
        ("OnnxStableDiffusionPipeline", {"unet"}),
    ],
)
def test_all_denoisers_are_quantized(pipeline: str, denoisers: set[str]) -> None:
    """A model may have several of one class for parts of the steps or of the guidance."""
    assert denoisers == set(fit(pipeline, Quantization="nf4").config.components)
