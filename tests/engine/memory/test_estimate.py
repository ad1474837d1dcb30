"""The memory of weights, computed from the headers of files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.memory.estimate import weight_bytes
from octabox.hub.cache_layout import CachedRepo


def save(folder: Path, name: str, elements: int, dtype: torch.dtype = torch.float32) -> None:
    """Write a weight file with so many elements."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.zeros(elements, dtype=dtype)}, folder / name)


def config(model: Path, **fields: Any) -> ModelConfig:
    """Return the configuration of a model."""
    return ModelConfig.model_validate({"name": "x", "model": str(model), **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model with two components, one of them in two shards and two variants."""
    for shard in ("00001-of-00002", "00002-of-00002"):
        save(tmp_path / "unet", f"diffusion_pytorch_model-{shard}.safetensors", 50)
    save(tmp_path / "unet", "diffusion_pytorch_model.fp16.safetensors", 100, torch.float16)
    save(tmp_path / "vae", "diffusion_pytorch_model.safetensors", 10)
    (tmp_path / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"0" * 40)
    return tmp_path


@pytest.mark.parametrize(
    ("fields", "device", "sizes"),
    [
        ({}, "cpu", {"unet": 400, "vae": 40}),
        ({}, "cuda:0", {"unet": 200, "vae": 20}),
        ({"variant": "fp16"}, "cuda:0", {"unet": 200, "vae": 20}),
        ({"dtype": "float32"}, "cuda:0", {"unet": 400, "vae": 40}),
        ({"components": {"unet": {"storage": "float8_e4m3fn"}}}, "cuda:0", {"unet": 100, "vae": 20}),
        ({"components": {"unet": {"quantization": {"load_in_4bit": True}}}}, "cuda:0", {"unet": 50, "vae": 20}),
        ({"components": {"vae": {"dtype": "float32"}}}, "cuda:0", {"unet": 200, "vae": 40}),
        ({"components": {"unet": None}}, "cuda:0", {"vae": 20}),
    ],
)
def test_components_are_counted_in_the_dtype_that_they_are_loaded_in(
    folder: Path, fields: dict[str, Any], device: str, sizes: dict[str, int]
) -> None:
    """Of several copies of the weights one counts; shards are added up."""
    assert sizes == weight_bytes(config(folder, **fields), device)


def test_another_source_of_a_component_counts_in_its_place(folder: Path, tmp_path: Path) -> None:
    """Of a list each counts."""
    other = tmp_path / "elsewhere" / "other"
    save(other, "diffusion_pytorch_model.safetensors", 7)
    parts = {"vae": {"model": str(other)}, "controlnet": [{"model": str(other)}, {"model": str(other)}]}

    sizes = weight_bytes(config(folder, components=parts), "cpu")
    assert sizes is not None
    assert [28, 28, 28, 400] == sorted(sizes.values())


def test_a_single_file_counts_as_a_whole(tmp_path: Path) -> None:
    """Integers and packed weights keep their size; a model that is not here is not known."""
    save_file({"a": torch.zeros(8), "n": torch.zeros(2, dtype=torch.int64)}, tmp_path / "x.safetensors")
    (tmp_path / "x.gguf").write_bytes(b"0" * 30)

    assert {"model": 32} == weight_bytes(config(tmp_path / "x.safetensors"), "cuda:0")
    assert {"model": 30} == weight_bytes(config(tmp_path / "x.gguf"), "cuda:0")
    assert weight_bytes(config(Path("some/model-that-is-not-here")), "cuda:0") is None


def test_the_embedded_model_is_known() -> None:
    """Its components are those of its index that have weights."""
    sizes = weight_bytes(config(demo.FOLDER), "cpu")

    assert sizes is not None
    assert {"unet", "vae", "text_encoder"} <= set(sizes)


def test_a_model_in_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found as the worker finds it: complete, with a component of another repository."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for name, source in (("org/model", folder), ("org/vae", folder / "vae")):
        repository = CachedRepo(name)
        commit = "a" * 40
        shutil.copytree(source, repository.snapshot(commit), ignore=shutil.ignore_patterns("cache"))
        (repository.folder / "refs").mkdir(parents=True)
        (repository.folder / "refs" / "main").write_text(commit)
    index = {"_class_name": "X", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"]}
    settings = {"name": "x", "model": "org/model", "components": {"vae": {"model": "org/vae"}}}
    model = ModelConfig.model_validate(settings)
    assert weight_bytes(model, "cpu") is None
    (CachedRepo("org/model").snapshot("a" * 40) / "model_index.json").write_text(json.dumps(index))

    assert {"unet": 400, "vae": 40} == weight_bytes(model, "cpu")
