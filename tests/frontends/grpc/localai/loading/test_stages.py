"""The stages of a cascade in EngineArgs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.errors import ConfigError, LoadError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest
from octabox.frontends.grpc.localai.loading.options import to_model


def wanted(stages: Any, folder: Path | str = "", environ: dict[str, str] | None = None, **fields: Any) -> LoadRequest:
    """Return the cascade that ModelOptions with these stages mean."""
    message = contract.ModelOptions(
        **{"Model": "floyd", "ModelPath": str(folder), "EngineArgs": json.dumps({"stages": stages}), **fields}
    )
    return to_model(message, Environment.load(environ or {}))


def test_the_model_of_a_cascade_is_that_of_its_first_stage(tmp_path: Path) -> None:
    """Model is only its name, and need not be a file; sources of the core's folder are absolute, all others are kept."""
    (tmp_path / "weights" / "small").mkdir(parents=True)
    found = wanted(["weights/small", {"model": "org/larger", "params": {"noise_level": 5}}, "demo"], tmp_path).config

    assert ("floyd", str(tmp_path / "weights" / "small")) == (found.name, found.model)
    assert [found.model, "org/larger", "demo"] == [each.model for each in found.stages]
    assert {"noise_level": 5} == found.stages[1].params


def test_sources_of_a_stage_are_of_the_same_folder(tmp_path: Path) -> None:
    """A component of a stage is looked up as its model is."""
    (tmp_path / "encoder").mkdir()
    stage = {"model": "org/larger", "components": {"text_encoder": {"model": "encoder"}}, "variant": "fp16"}
    settings = wanted(["demo", stage], tmp_path).config.stages[1].settings

    assert {"components", "variant"} == set(settings)
    assert str(tmp_path / "encoder") == settings["components"]["text_encoder"].model


def test_settings_of_the_message_are_for_all_stages() -> None:
    """Device, dtype and memory are; the embedded model's own defaults are not those of the cascade."""
    found = wanted(["demo", "demo"], F16Memory=True, CUDA=True, LowVRAM=True, CFGScale=3).config

    assert ("accelerator", "float16", "model_cpu_offload") == (found.device, found.dtype, found.memory)
    assert 3 == found.defaults["guidance_scale"]
    assert "num_inference_steps" not in found.defaults


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"PipelineType": "FluxPipeline"}, "PipelineType: `pipeline`"),
        ({"SchedulerType": "euler"}, "SchedulerType: `scheduler`"),
        ({"ControlNet": "org/canny"}, "ControlNet or Quantization: `components`"),
        ({"Quantization": '{"vae": {"quant_backend": "quanto"}}'}, "ControlNet or Quantization: `components`"),
        ({"LoraAdapter": "org/lora"}, "LoraAdapter: `adapters`"),
        ({"TrustRemoteCode": True}, "TrustRemoteCode: `allow_remote_code`"),
        ({"EngineArgs": '{"stages": ["demo", "demo"], "variant": "fp16"}'}, "EngineArgs: `variant`"),
    ],
)
def test_what_belongs_to_a_stage_is_refused(fields: dict[str, Any], name: str) -> None:
    """A setting of one model's files is not silently given to all, and the error says which field it is."""
    with pytest.raises(ConfigError, match=f"^{name} belongs to one model"):
        wanted(["demo", "demo"], **fields)


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        (["demo"], "two stages"),
        ("demo", "stages"),
        ([{"params": {}}, "demo"], "stages"),
        (["demo", {"model": "org/other", "memory": "none"}], r"`stages\.1\.memory`"),
    ],
)
def test_wrong_stages_are_told(stages: Any, word: str) -> None:
    """The error names the stage and its key."""
    with pytest.raises(ConfigError, match=word):
        wanted(stages, Model="org/model")


def test_a_model_beside_the_stages_is_a_warning() -> None:
    """A Hub id that no stage has would otherwise be ignored without a word."""
    (warning,) = wanted(["demo", "demo"], Model="org/model").warnings
    assert warning.endswith("the `stages` name all models, and org/model is not among them.")
    assert () == wanted(["org/model", "demo"], Model="org/model").warnings
    assert () == wanted(["demo", "demo"]).warnings


def test_each_stage_must_have_safe_weights(tmp_path: Path) -> None:
    """Pickled weights of a later stage are refused as those of a model are, unless a variable allows them."""
    (tmp_path / "old" / "unet").mkdir(parents=True)
    (tmp_path / "old" / "unet" / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(LoadError, match="old/unet has no safetensors weights"):
        wanted(["demo", "old"], tmp_path)

    assert 2 == len(wanted(["demo", "old"], tmp_path, environ={"SAFETENSORS": "0"}).config.stages)
