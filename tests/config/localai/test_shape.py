"""LocalAI's configurations, whole and key by key."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from octabox.config.model import ModelConfig
from octabox.config.parsing import ParsedConfig, read_models

DOCUMENTED_FILES = Path(__file__).parent / "documented"

#: Every key that LocalAI documents for diffusers models, with a value that asks for something.
DOCUMENTED: dict[str, Any] = {
    "name": "other",
    "backend": "llama-cpp",
    "description": "words",
    "usage": "words",
    "alias": "other",
    "disabled": True,
    "pinned": True,
    "parameters.model": "owner/other",
    "parameters.seed": 7,
    "parameters.clip_skip": 2,
    "parameters.negative_prompt": "blurry",
    "f16": True,
    "step": 9,
    "cfg_scale": 0,
    "cuda": True,
    "low_vram": True,
    "threads": 4,
    "tensor_parallel_size": 2,
    "lora_adapter": "a.safetensors",
    "lora_base": "b",
    "lora_scale": 0.5,
    "lora_adapters": ["a.safetensors"],
    "lora_scales": [0.5],
    "options": ["strength:0.5"],
    "overrides": ["x"],
    "engine_args": {"x": 1},
    "quantization": "int8",
    "load_format": "safetensors",
    "dtype": "bfloat16",
    "type": "diffusers",
    "trust_remote_code": True,
    "diffusers.cuda": True,
    "diffusers.pipeline_type": "StableDiffusionPipeline",
    "diffusers.scheduler_type": "euler_a",
    "diffusers.enable_parameters": "image",
    "diffusers.img2img": True,
    "diffusers.clip_skip": 2,
    "diffusers.clip_model": "owner/clip",
    "diffusers.clip_subfolder": "text_encoder",
    "diffusers.control_net": "owner/control",
    "diffusers.cfg_scale": 8,
    "known_usecases": ["image"],
    "known_input_modalities": ["text"],
    "known_output_modalities": ["image"],
    "artifacts": [{"name": "model", "target": "model"}],
    "download_files": [{"filename": "x", "uri": "https://example.com/x"}],
    "grpc.attempts": 20,
    "grpc.attempts_sleep_time": 2,
    "limits.max_concurrent": 1,
    "limits.retry_after_seconds": 1,
    "concurrency_groups": ["gpu"],
}

#: Keys that have an effect only with another.
NEEDS: dict[str, dict[str, Any]] = {
    "lora_scale": {"lora_adapter": "x"},
    "lora_scales": {"lora_adapters": ["x"]},
    "diffusers.enable_parameters": {"step": 3},
}


def read(folder: Path, text: str) -> ParsedConfig:
    """Read a text as a configuration file."""
    file = folder / "given.yaml"
    file.write_text(dedent(text))
    return read_models(file)


def one(folder: Path, text: str) -> ModelConfig:
    """Read a text that holds one model, and nothing to complain of."""
    reading = read(folder, text)
    assert reading.problems == ()
    return reading.models[0]


def documented(name: str) -> ModelConfig:
    """Read a configuration as LocalAI's pages and users show it, which must give nothing to complain of."""
    reading = read_models(DOCUMENTED_FILES / f"{name}.yaml")
    assert reading.problems == ()
    return reading.models[0]


def nested(values: dict[str, Any]) -> str:
    """Write keys with dots as YAML."""
    data: dict[str, Any] = {}
    for key, value in values.items():
        section, _, inner = key.rpartition(".")
        (data.setdefault(section, {}) if section else data)[inner] = value
    return yaml.safe_dump(data)


@pytest.mark.parametrize(("key", "value"), DOCUMENTED.items(), ids=DOCUMENTED)
def test_every_documented_key_has_an_effect_or_a_problem(tmp_path: Path, key: str, value: Any) -> None:
    """Nothing that LocalAI documents is dropped in silence."""
    least: dict[str, Any] = {"name": "given", "parameters.model": "owner/name"}
    least |= NEEDS.get(key, {})
    without = read(tmp_path, nested(least))

    with_key = read(tmp_path, nested({**least, key: value}))

    assert without.models != with_key.models or any(key in problem.key for problem in with_key.problems)


def test_the_documented_example_for_a_processor_loads() -> None:
    """AnimagineXL, as LocalAI's page has it."""
    model = documented("animagine-xl")

    assert ("animagine-xl", "Linaqruf/animagine-xl", "StableDiffusionXLPipeline") == (
        model.name,
        model.model,
        model.pipeline,
    )
    assert ("float32", None, "cpu") == (model.dtype, model.variant, model.device)
    assert model.scheduler is not None
    assert "euler_a" == model.scheduler.name


def test_the_documented_example_of_a_local_file_loads() -> None:
    """A checkpoint with steps, guidance and clip_skip."""
    model = documented("stablediffusion")

    assert ("toonyou_beta6.safetensors", "StableDiffusionPipeline") == (Path(model.model).name, model.pipeline)
    assert model.scheduler is not None
    assert "k_dpmpp_sde" == model.scheduler.name
    assert {"num_inference_steps": 30, "guidance_scale": 8, "clip_skip": 11} == model.defaults
    assert ("float16", None, "accelerator") == (model.dtype, model.variant, model.device)


def test_the_documented_example_of_image_to_image_loads() -> None:
    """The class for images is kept as it is written."""
    model = documented("stablediffusion-edit")

    assert ("StableDiffusionImg2ImgPipeline", {"num_inference_steps": 25}) == (model.pipeline, model.defaults)


def test_the_documented_example_of_depth_loads() -> None:
    """Its guidance is under ``diffusers``, as in the documentation."""
    model = documented("stablediffusion-depth")

    assert {"num_inference_steps": 50, "guidance_scale": 6} == model.defaults


def test_z_image_as_it_is_shared_loads() -> None:
    """The option for the dtype is stronger than ``f16: false``."""
    model = documented("z-image-turbo")

    assert ("bfloat16", "auto", {"num_inference_steps": 9}) == (model.dtype, model.memory, model.defaults)


def test_flux_as_it_is_shared_loads() -> None:
    """Guidance is at the top level."""
    model = documented("flux.1-dev")

    assert ("flux.1-dev", "bfloat16") == (model.name, model.dtype)
    assert {"num_inference_steps": 25, "guidance_scale": 1} == model.defaults


def from_the_gallery(name: str) -> ModelConfig:
    """Read a configuration of LocalAI's gallery, of which some things are explained."""
    return read_models(DOCUMENTED_FILES / f"{name}.yaml").models[0]


def test_guidance_of_zero_is_zero() -> None:
    """LocalAI has no key for it, though two models of its gallery need it (D4)."""
    model = from_the_gallery("qwen-image")

    assert {"guidance_scale": 0, "num_inference_steps": 50, "true_cfg_scale": 4.0} == model.defaults
    assert ("bfloat16", None, "model_cpu_offload") == (model.dtype, model.variant, model.memory)


def test_half_precision_without_cuda_is_for_the_best_device() -> None:
    """LocalAI runs it on the processor, since its switch for CUDA is off where it is not given (L14)."""
    model = from_the_gallery("stable-diffusion-x4-upscaler")

    assert ("float16", None, None) == (model.dtype, model.device, model.variant)


def test_a_video_model_of_the_gallery_loads() -> None:
    """Low memory means that parts leave the accelerator, for this class as for any (L6)."""
    model = from_the_gallery("ltx-2")

    assert ("LTX2ImageToVideoPipeline", "model_cpu_offload", "bfloat16") == (model.pipeline, model.memory, model.dtype)


def test_a_transformer_in_a_file_loads() -> None:
    """The class name that only LocalAI has selects a preset, which names the source of the other components."""
    model = from_the_gallery("flux-file")

    assert ("flux-transformer", "FluxPipeline", "ChuckMcSneed/FLUX.1-dev") == (
        model.preset,
        model.pipeline,
        model.config,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step: many", "`step` must be a whole number, not 'many'."),
        ("step: 9.5", "`step` must be a whole number, not 9.5."),
        ("step: true", "`step` must be a whole number, not true."),
        ("f16: 1", "`f16` must be true or false, not 1."),
        ("diffusers: true", "`diffusers` must be a mapping (key: value), not true."),
        ("options: torch_dtype:bf16", "`options` must be a list, not 'torch_dtype:bf16'."),
        ("description: 5", '`description` must be text, not 5. (write "5")'),
        ("lora_adapter: x\nlora_scale: 99", "`adapters.0.weight` must be at most 10, not 99."),
        ("backend: llama-cpp", "This model is for LocalAI's backend 'llama-cpp' and is not served."),
        ("backend: difusers", "backend 'difusers' and is not served. (did you mean diffusers?)"),
    ],
)
def test_what_is_wrong_is_told_in_localais_words(tmp_path: Path, text: str, message: str) -> None:
    """The problem points to LocalAI's key, and the model is not served."""
    reading = read(tmp_path, f"parameters:\n  model: owner/name\n{text}\n")

    assert () == reading.models
    assert message in str(reading.problems[0])
    assert 3 == reading.problems[0].line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "diffusers: {schduler_type: x}",
            "LocalAI's configuration has no key `diffusers.schduler_type`. (did you mean diffusers.scheduler_type?)",
        ),
        (
            "scheduler_type: x",
            "LocalAI's configuration has no key `scheduler_type`. (did you mean diffusers.scheduler_type?)",
        ),
        ("threads: 4", "`threads` has no effect: the server's setting `threads`"),
        ("context_size: 512", "`context_size` has no effect: it is for language"),
        ("lora_scale: 0.5", "`lora_scale` has no effect: `lora_adapter` is not set."),
    ],
)
def test_what_has_no_effect_is_a_warning(tmp_path: Path, text: str, problem: str) -> None:
    """LocalAI ignores such keys, so the model is served with a warning."""
    reading = read(tmp_path, f"parameters:\n  model: owner/name\n{text}\n")

    assert ["given"] == [model.name for model in reading.models]
    assert [f"{reading.file}:3:"] == [str(found)[: len(str(reading.file)) + 3] for found in reading.problems]
    assert f"warning: {problem}" in str(reading.problems[0])


def test_what_asks_for_nothing_is_no_problem(tmp_path: Path) -> None:
    """Keys that LocalAI's own files carry with their defaults are not complained of."""
    model = one(
        tmp_path,
        """
        parameters: {model: owner/name, seed: -1}
        disabled: false
        pinned: false
        tensor_parallel_size: 1
        threads: 0
        step: 0
        lora_adapters: []
        diffusers: {img2img: false, clip_skip: 0, scheduler_type: "", pipeline_type: ""}
        grpc:
        """,
    )

    assert ModelConfig(name="given", model="owner/name", path=model.path) == model


def test_a_model_must_be_named(tmp_path: Path) -> None:
    """A missing ``parameters.model`` is reported once."""
    reading = read(tmp_path, "name: x\nbackend: diffusers\nf16: true\n")

    assert ["`parameters.model` is missing."] == [problem.message for problem in reading.problems]


def test_a_disabled_model_is_not_served(tmp_path: Path) -> None:
    """Its author has disabled it."""
    disabled = read(tmp_path, "name: x\ndisabled: true\nparameters: {model: a/b}\n")

    assert ((), ["warning"]) == (disabled.models, [problem.severity for problem in disabled.problems])


def test_an_alias_is_another_name(tmp_path: Path) -> None:
    """It is served as in Octabox's format."""
    reading = read(tmp_path, "name: x\nalias: y\n")

    assert ((), ()) == (reading.models, reading.problems)
    assert [("x", "y")] == [(alias.name, alias.model) for alias in reading.aliases]


def test_float16_on_a_processor_is_warned_of(tmp_path: Path) -> None:
    """It is honoured, but its author probably forgot ``cuda``."""
    reading = read(tmp_path, "parameters: {model: a/b}\nf16: true\ncuda: false\n")

    assert ["`f16` selects float16 without an accelerator."] == [problem.message for problem in reading.problems]
    assert "float16" == reading.models[0].dtype
