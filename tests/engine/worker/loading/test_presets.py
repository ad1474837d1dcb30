"""Models with special cases in LocalAI, loaded with tiny weights by configuration only (D6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

import makers
from calling import call, run
from makers import samples
from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import resolve_sources
from octabox.config.model import ModelConfig
from octabox.config.parsing import read_models
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.runner import Runner
from octabox.types import Generation

pytestmark = pytest.mark.slow

OPTIONS = WorkerOptions(device="cpu")


def saved(name: str, folder: Path) -> Path:
    """Save a tiny pipeline; return its folder."""
    makers.pipelines()[name].make().save_pretrained(folder / name)
    return folder / name


def loaded(config: ModelConfig, pipeline: str) -> LoadedModel:
    """Load a model, with what holds for its class."""
    return load(config.with_class_presets(pipeline), pipeline, OPTIONS)


def made(model: LoadedModel, name: str, **defaults: Any) -> Generation:
    """Return what a model makes of the call that its maker gives it, and of an image where it needs one."""
    entry, params = load_catalog().pipeline(name), {**defaults, **makers.pipelines()[name].params}
    known = {each.name for each in entry.parameters if not each.is_file}
    inputs = {part: (samples.sample_image(32, 32),) for part in entry.files(required=True)}
    wanted = call(name, {key: value for key, value in params.items() if key in known}, inputs=inputs)
    return run(Runner(model), wanted).encode()


def from_localai(folder: Path, **keys: Any) -> ModelConfig:
    """Read a file in LocalAI's shape, which must give nothing to complain of."""
    lines = [f"{key}: {value}" for key, value in keys.items()]
    (folder / "given.yaml").write_text("\n".join(["backend: diffusers", *lines]) + "\n", encoding="utf-8")
    reading = read_models(folder / "given.yaml")
    assert reading.problems == ()
    return resolve_sources(reading.entries[0], folder)[0].config


def test_a_flux_transformer_in_a_file_of_its_own(tmp_path: Path) -> None:
    """LocalAI's FluxTransformer2DModel: the rest comes from a repository, and two parts are kept in eight bits (L7, G5)."""
    base, name = saved("FluxPipeline", tmp_path), "FluxPipeline"
    pipe = diffusers.FluxPipeline.from_pretrained(base)
    with torch.no_grad():
        pipe.transformer.proj_out.bias += 1
    save_file(pipe.transformer.state_dict(), tmp_path / "own.safetensors")
    keys = {"parameters": "{model: own.safetensors}", "diffusers": "{pipeline_type: FluxTransformer2DModel}"}
    config = from_localai(tmp_path, **keys)

    model = loaded(config.model_copy(update={"config": str(base)}), name)
    transformer, words = model.pipeline.transformer, model.pipeline.text_encoder_2

    assert ("FluxPipeline", "ChuckMcSneed/FLUX.1-dev") == (config.pipeline, config.config)
    assert torch.equal(pipe.transformer.proj_out.bias, transformer.proj_out.bias)
    eight = torch.float8_e4m3fn
    assert eight == transformer.transformer_blocks[0].attn.to_q.weight.dtype
    assert eight == words.encoder.block[0].layer[0].SelfAttention.q.weight.dtype
    assert (torch.float32, torch.float32) == (transformer.dtype, words.dtype)
    first, again = (made(model, name).artifacts[0].content for _ in range(2))
    assert first == again


@pytest.mark.parametrize("name", ["WanPipeline", "WanImageToVideoPipeline"])
def test_wans_autoencoder_computes_in_float32(tmp_path: Path, name: str) -> None:
    """The rest is in the type that the configuration asks for, and a video comes out."""
    config = from_localai(
        saved(name, tmp_path).parent,
        parameters=f"{{model: {name}}}",
        diffusers=f"{{pipeline_type: {name}}}",
        options='["torch_dtype:bf16"]',
    )
    model = loaded(config, name)
    pipe = model.pipeline

    assert (torch.bfloat16, torch.float32) == (pipe.transformer.dtype, pipe.vae.dtype)
    assert "video" == made(model, name).artifacts[0].kind


def test_sanas_parts_compute_in_bfloat16(tmp_path: Path) -> None:
    """Autoencoder and text encoder do; the transformer keeps the type that was asked for, and no variant is forced (L13)."""
    name = "SanaPipeline"
    folder = saved(name, tmp_path)
    config = from_localai(tmp_path, parameters=f"{{model: {folder.name}}}", diffusers=f"{{pipeline_type: {name}}}")
    model = loaded(config, name)
    pipe = model.pipeline

    assert (torch.bfloat16, torch.bfloat16, torch.float32) == (
        pipe.vae.dtype,
        pipe.text_encoder.dtype,
        pipe.transformer.dtype,
    )
    assert None is config.variant
    assert "image" == made(model, name).artifacts[0].kind


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # Of diffusers' scheduler, with new numpy.
def test_stable_video_leaves_the_accelerator(tmp_path: Path) -> None:
    """Its parts are to wait on the host until they are at work (L6), and frames are decoded eight at a time (G9)."""
    name = "StableVideoDiffusionPipeline"
    folder = saved(name, tmp_path)
    config = from_localai(tmp_path, parameters=f"{{model: {folder.name}}}", diffusers=f"{{pipeline_type: {name}}}")
    whole = config.with_class_presets(name)

    assert ("model_cpu_offload", {"decode_chunk_size": 8, "fps": 7}) == (whole.memory, whole.defaults)
    on_processor = loaded(config, name)
    assert () == on_processor.warnings
    video = made(on_processor, name, **whole.defaults).artifacts[0]
    assert ("video", 8, 7) == (
        video.kind,
        video.metadata["params"]["decode_chunk_size"],
        video.metadata["params"]["fps"],
    )


def test_a_video_of_whatever_class_the_model_names(tmp_path: Path) -> None:
    """LocalAI's VideoDiffusionPipeline: the output is a video of 64 frames (G10); a request may ask for others."""
    name = "WanPipeline"
    folder = saved(name, tmp_path)
    keys = {"parameters": f"{{model: {folder.name}}}", "diffusers": "{pipeline_type: VideoDiffusionPipeline}"}
    config = from_localai(tmp_path, **keys)
    generation = made(loaded(config, name), name)

    assert ("DiffusionPipeline", {"num_frames": 64}) == (config.pipeline, config.defaults)
    assert ("video", "video/mp4", 5) == (
        generation.artifacts[0].kind,
        generation.artifacts[0].media_type,
        generation.artifacts[0].metadata["num_frames"],
    )
