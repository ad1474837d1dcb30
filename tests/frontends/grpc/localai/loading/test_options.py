"""ModelOptions as a model's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox import demo
from octabox.config.model import LoraConfig, ModelConfig
from octabox.errors import ConfigError, LoadError, ModelNotFoundError
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest
from octabox.frontends.grpc.localai.loading.options import to_model

STABLE_DIFFUSION = "StableDiffusionPipeline"


def wanted(*, environ: dict[str, str] | None = None, device: str | None = None, **fields: Any) -> LoadRequest:
    """Return the model that ModelOptions of these fields mean."""
    fields = {"Model": "org/model", **fields}
    return to_model(contract.ModelOptions(**fields), Environment.load(environ or {}), device)


def config(**fields: Any) -> ModelConfig:
    """Return its configuration."""
    return wanted(**fields).config


def test_the_file_that_the_core_found_comes_before_the_name(tmp_path: Path) -> None:
    """ModelFile is loaded where it is there, under the name of Model."""
    found = config(Model="my-model", ModelFile=str(tmp_path))

    assert ("my-model", str(tmp_path)) == (found.name, found.model)


def test_a_file_that_is_not_there_leaves_the_name(tmp_path: Path) -> None:
    """LocalAI always names a ModelFile; where there is none, Model is a Hub id, or a file of the models folder."""
    missing = str(tmp_path / "org/model")
    (tmp_path / "sd.safetensors").touch()

    assert "org/model" == config(ModelFile=missing, ModelPath=str(tmp_path)).model
    assert str(tmp_path / "sd.safetensors") == config(Model="sd.safetensors", ModelPath=str(tmp_path)).model


def test_a_model_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    """What is neither a file nor a Hub id is an error that names it."""
    with pytest.raises(ModelNotFoundError, match=r"nowhere\.safetensors"):
        config(Model="nowhere.safetensors", ModelPath=str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="The model is missing"):
        config(Model="")
    with pytest.raises(ModelNotFoundError):
        config(Model="a\0b", ModelFile="\0")


def test_the_embedded_model_can_be_named() -> None:
    """`demo` is the embedded model, with its defaults."""
    found = config(Model=demo.NAME)

    assert str(demo.FOLDER) == found.model
    assert 20 == found.defaults["num_inference_steps"]


def test_what_is_not_said_is_the_models_own() -> None:
    """Options that say nothing leave pipeline, scheduler and guidance to the model, on the processor in float32."""
    found = config()

    assert (None, None, "cpu", "float32", "auto") == (
        found.pipeline,
        found.scheduler,
        found.device,
        found.dtype,
        found.memory,
    )
    assert {"decode_chunk_size": 8} == found.defaults


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"PipelineType": "FluxPipeline"}, {"pipeline": "FluxPipeline"}),
        ({"PipelineType": "text-to-image"}, {"pipeline": "text-to-image"}),
        ({"IMG2IMG": True}, {"pipeline": "image-to-image"}),
        ({"IMG2IMG": True, "PipelineType": "FluxPipeline"}, {"pipeline": "FluxPipeline"}),
        ({"CUDA": True, "F16Memory": True}, {"device": "accelerator", "dtype": "float16"}),
        ({"CUDA": True}, {"device": "accelerator", "dtype": "float32"}),
        ({"CUDA": True, "F16Memory": True, "DType": "bfloat16"}, {"dtype": "bfloat16"}),
        ({"Options": ["torch_dtype:bf16"], "F16Memory": True}, {"dtype": "bfloat16"}),
        ({"LowVRAM": True}, {"memory": "model_cpu_offload"}),
        ({"environ": {"DISABLE_CPU_OFFLOAD": "1"}}, {"memory": "full"}),
        ({"PipelineType": "VideoDiffusionPipeline", "environ": {"DISABLE_CPU_OFFLOAD": "1"}}, {"memory": "full"}),
        ({"EngineArgs": '{"preset": "wan"}'}, {"preset": "wan"}),
        ({"F16Memory": True, "EngineArgs": '{"device": "cuda"}'}, {"device": "cuda", "dtype": "float16"}),
        ({"F16Memory": True, "EngineArgs": '{"dtype": "float16"}'}, {"device": "cpu", "dtype": "float16"}),
        ({"F16Memory": True, "CUDA": True, "EngineArgs": '{"device": "cpu"}'}, {"dtype": "float32"}),
        ({"environ": {"XPU": "1"}}, {"device": "xpu"}),
        ({"device": "cuda:1"}, {"device": "cuda:1"}),
    ],
)
def test_fields_become_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each field of ModelOptions has its place in a model's configuration."""
    found = config(**fields)

    assert expected == {name: getattr(found, name) for name in expected}


def test_half_precision_needs_an_accelerator() -> None:
    """F16Memory without CUDA would be slow or impossible: the processor computes in float32, and that is said."""
    found = wanted(F16Memory=True)

    assert "float32" == found.config.dtype
    assert any("f16" in warning for warning in found.warnings)


@pytest.mark.parametrize("arguments", ['{"device": "cuda"}', '{"dtype": "float16"}'])
def test_engine_args_decide_on_half_precision(arguments: str) -> None:
    """A device or a dtype of EngineArgs applies, so that nothing is changed and nothing is said."""
    assert () == wanted(F16Memory=True, EngineArgs=arguments).warnings


def test_a_model_for_little_memory_stays_offloaded() -> None:
    """DISABLE_CPU_OFFLOAD is for all models of a machine, and LowVRAM for this one: that it applies is said."""
    environ = {"DISABLE_CPU_OFFLOAD": "1"}
    both = wanted(LowVRAM=True, environ=environ)
    decided = wanted(LowVRAM=True, environ=environ, EngineArgs='{"memory": "group_offload"}')

    assert "model_cpu_offload" == both.config.memory
    assert ("DISABLE_CPU_OFFLOAD has no effect: `low_vram` is set for this model.",) == both.warnings
    assert ("group_offload", ()) == (decided.config.memory, decided.warnings)


@pytest.mark.parametrize(
    ("option", "name", "value"),
    [
        ("num_images_per_prompt:2", "num_images_per_prompt", 2),
        ("strength:0.5", "strength", 0.5),
        ("clean_caption: true", "clean_caption", True),
        ("image:http://host:80/a.png", "image", "http://host:80/a.png"),
        ("sigmas:[1.0, 0.5]", "sigmas", [1.0, 0.5]),
        ("cfg_scale:0", "guidance_scale", 0),
        ("eta:nan", "eta", "nan"),
    ],
)
def test_options_keep_their_types_and_colons(option: str, name: str, value: Any) -> None:
    """Only the first colon parts name and value; a whole number stays one, and 0 is a value."""
    found = config(Options=[option]).defaults[name]

    assert (value, type(value)) == (found, type(found))


def test_options_are_stronger_than_other_fields() -> None:
    """An option is passed as it is, whatever a field says of the same parameter."""
    found = config(CFGScale=7.5, CLIPSkip=2, Options=["guidance_scale:0"]).defaults

    assert (0, 2) == (found["guidance_scale"], found["clip_skip"])
    assert "clip_skip" not in config(CLIPSkip=2, environ={"CLIPSKIP": "0"}).defaults


def test_an_option_without_a_colon_is_refused() -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(ConfigError, match="name:value"):
        config(Options=["strength"])


def test_the_scheduler_is_kept_as_written() -> None:
    """SchedulerType is an alias or a class, resolved where all schedulers are known."""
    scheduler = config(SchedulerType="k_dpmpp_2m").scheduler

    assert scheduler is not None
    assert "k_dpmpp_2m" == scheduler.name


def test_loras_come_with_their_scales(tmp_path: Path) -> None:
    """Files of the models folder, Hub ids, single and several: each has its scale, or 1."""
    (tmp_path / "a.safetensors").touch()
    found = config(
        ModelPath=str(tmp_path),
        LoraAdapter="a.safetensors",
        LoraScale=0.5,
        LoraAdapters=["org/b", "org/c"],
        LoraScales=[2.0],
    )

    assert found.adapters == (
        LoraConfig(lora=str(tmp_path / "a.safetensors"), weight=0.5),
        LoraConfig(lora="org/b", weight=2.0),
        LoraConfig(lora="org/c", weight=1.0),
    )


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"LoraAdapter": "org/a", "LoraScales": [0.5]}, "lora_scales"),
        ({"LoraAdapters": ["org/a"], "LoraScale": 0.5}, "lora_scale"),
        ({"LoraAdapters": ["org/a"], "LoraBase": "org/b"}, "lora_base"),
    ],
)
def test_a_scale_without_its_lora_is_told(fields: dict[str, Any], key: str) -> None:
    """A scale of the other field is not that of the LoRA, which is applied in full; without any LoRA nothing is said."""
    found = wanted(**fields)

    assert (LoraConfig(lora="org/a", weight=1.0),) == found.config.adapters
    assert [True] == [warning.startswith(f"`{key}` has no effect") for warning in found.warnings]
    assert () == wanted(LoraScale=0.5, LoraBase="org/b").warnings


def test_a_controlnet_stands_beside_the_model() -> None:
    """ControlNet is a component with a source of its own."""
    assert "org/canny" == config(ControlNet="org/canny").part("controlnet").model


def test_engine_args_say_the_rest() -> None:
    """EngineArgs are fields of a model's configuration in JSON, stronger than other fields."""
    arguments = {
        "variant": "ema",
        "components": {"vae": {"dtype": "float32"}},
        "defaults": {"eta": 0.5},
        "memory": "group_offload",
    }
    found = config(EngineArgs=json.dumps(arguments), LowVRAM=True, CFGScale=3)

    assert ("ema", "group_offload", "float32") == (found.variant, found.memory, found.part("vae").dtype)
    assert {"eta": 0.5, "guidance_scale": 3} == {name: found.defaults[name] for name in ("eta", "guidance_scale")}


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "no json",
        '{"preset": ["video"]}',
        '{"preset": {}}',
        '{"defaults": {"eta": NaN}}',
        r'{"\ud800": 1}',
        r'{"defaults": {"prompt": "\ud800"}}',
        '{"variants": "x"}',
        '{"defaults": 3}',
        '{"memory": "none"}',
        '{"model": "other"}',
    ],
)
def test_wrong_engine_args_are_refused(text: str) -> None:
    """EngineArgs that are no object, or name what is no field, are errors."""
    with pytest.raises(ConfigError):
        config(EngineArgs=text)


def test_what_cannot_be_honoured_is_said() -> None:
    """Several devices for one model are not to be had; the model is loaded all the same, and that is told."""
    assert any("tensor_parallel_size" in warning for warning in wanted(TensorParallelSize=2).warnings)
    assert () == wanted(TensorParallelSize=1).warnings


def test_weights_in_prompts_are_read_where_a_variable_says_so() -> None:
    """COMPEL and SD_EMBED each mean the syntax that their users write; what the core says of a model is stronger."""
    assert "compel" == config(environ={"COMPEL": "1"}).prompt_syntax
    assert "a1111" == config(environ={"SD_EMBED": "1"}).prompt_syntax
    assert "plain" == config(environ={"COMPEL": "1"}, EngineArgs='{"prompt_syntax": "plain"}').prompt_syntax
    assert config().prompt_syntax is None


def test_remote_code_runs_only_where_it_is_trusted() -> None:
    """TrustRemoteCode allows the code of the model's own repository."""
    assert () == config().allow_remote_code
    assert ["."] == [each.repo for each in config(TrustRemoteCode=True).allow_remote_code]


def test_weights_must_be_safe_unless_told_otherwise(tmp_path: Path) -> None:
    """With SAFETENSORS, as it is by default, a model of pickles alone is refused; with 0 it is not."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.bin").touch()

    with pytest.raises(LoadError, match="unet") as caught:
        config(ModelFile=str(tmp_path))
    assert "SAFETENSORS=0" in caught.value.hint
    assert str(tmp_path) == config(ModelFile=str(tmp_path), environ={"SAFETENSORS": "0"}).model
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").touch()
    assert str(tmp_path) == config(ModelFile=str(tmp_path)).model


def test_the_chunk_of_frames_comes_from_its_variable() -> None:
    """CHUNK_SIZE is the number of frames that are decoded at once, as a number; an option is stronger."""
    assert 2 == config(environ={"CHUNK_SIZE": "2"}).defaults["decode_chunk_size"]
    assert 3 == config(environ={"CHUNK_SIZE": "2"}, Options=["decode_chunk_size:3"]).defaults["decode_chunk_size"]


def test_a_lone_transformer_is_completed_from_its_repository() -> None:
    """FluxTransformer2DModel is a preset, and BFL_REPO the repository of what the file lacks."""
    fields: dict[str, Any] = {"PipelineType": "FluxTransformer2DModel"}
    changed = config(environ={"BFL_REPO": "me/flux"}, **fields)

    assert ("flux-transformer", "ChuckMcSneed/FLUX.1-dev") == (config(**fields).preset, config(**fields).config)
    assert "me/flux" == changed.config


def test_the_frames_of_the_alias_for_videos_come_from_their_variable() -> None:
    """VideoDiffusionPipeline makes 64 frames, or as many as FRAMES says, or an option."""
    fields: dict[str, Any] = {"PipelineType": "VideoDiffusionPipeline"}

    assert 64 == config(**fields).defaults["num_frames"]
    assert 8 == config(environ={"FRAMES": "8"}, **fields).defaults["num_frames"]
    assert 4 == config(environ={"FRAMES": "8"}, Options=["num_frames:4"], **fields).defaults["num_frames"]
