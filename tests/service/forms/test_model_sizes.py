"""Sizes of a model that is not loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from octabox.catalog.entries import SizeRule
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.checkpoints.families import families
from octabox.service.forms.model_sizes import ModelSizes

#: Tensors by which a file is a checkpoint of Stable Diffusion XL.
SDXL = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
}

#: A small model of that class, whose sizes are not those of its family.
SMALL = {"vae": {"block_out_channels": [1, 2]}, "unet": {"sample_size": 32}}


def write_model(folder: Path, configs: dict[str, Any]) -> ModelConfig:
    """Write a model folder with these configurations of its components."""
    index = {name: ["diffusers", "Part"] for name in configs}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "X", **index}))
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    return ModelConfig(name="x", model=str(folder))


def write_file(folder: Path) -> ModelConfig:
    """Write a checkpoint of Stable Diffusion XL, without most of its tensors."""
    file = folder / "x.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.uint8) for name, shape in SDXL.items()}, file)
    return ModelConfig(name="x", model=str(file))


def write_snapshot(repo: str, configs: dict[str, Any]) -> Path:
    """Write a complete model into the Hub's cache."""
    cached, commit = CachedRepo(repo), "a" * 40
    cached.set_revision(None, commit)
    folder = cached.snapshot(commit)
    folder.mkdir(parents=True)
    write_model(folder, configs)
    for name in configs:
        (folder / name / "diffusion_pytorch_model.safetensors").write_text("weights")
    return folder


@pytest.mark.parametrize(
    ("pipeline", "configs", "side", "multiple"),
    [
        ("FluxPipeline", {"vae": {"block_out_channels": [1, 2, 3, 4]}}, 1024, 16),
        ("FluxPipeline", {"vae": {"block_out_channels": [1, 2]}}, 256, 4),
        ("StableDiffusionXLPipeline", {"vae": {"block_out_channels": [1, 2]}, "unet": {"sample_size": 32}}, 64, 8),
        ("StableDiffusionXLPipeline", {"vae": {"block_out_channels": [1, 2]}}, 256, 8),
        ("StableDiffusionXLPipeline", {"vae": {"block_out_channels": "none"}}, 1024, 8),
    ],
)
def test_sizes_are_computed_as_the_class_does(
    catalog: Catalog, tmp_path: Path, pipeline: str, configs: dict[str, Any], side: int, multiple: int
) -> None:
    """The source of the constructor is evaluated over the configurations of the components."""
    entry = catalog.pipeline(pipeline)
    sizes = ModelSizes(entry, write_model(tmp_path, configs))
    rule = next(rule for rule in entry.sizes if "width" in rule.parameters)

    assert (side, multiple) == (sizes.default_side(), sizes.multiple(rule))


def sizes_of(catalog: Catalog, model: ModelConfig) -> tuple[int | None, int | None]:
    """Return the default side of a model of Stable Diffusion XL, and the pixels of an element of its latents."""
    sizes = ModelSizes(catalog.pipeline("StableDiffusionXLPipeline"), model)
    return sizes.default_side(), sizes.multiple(SizeRule((), expression="vae_scale_factor"))


def test_the_configurations_are_those_of_the_source_that_is_loaded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a folder, a snapshot in the Hub's cache, the model that completes a file, or what is shipped for its family."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = write_snapshot("org/small", SMALL)
    hub, file = ModelConfig(name="x", model="org/small"), write_file(tmp_path)

    assert (64, 2) == sizes_of(catalog, ModelConfig(name="x", model=str(folder))) == sizes_of(catalog, hub)
    assert (1024, 8) == sizes_of(catalog, file)
    assert (64, 2) == sizes_of(catalog, file.model_copy(update={"config": "org/small"}))
    assert (None, None) == sizes_of(catalog, file.model_copy(update={"config": "org/other"}))


def test_a_component_counts_with_its_own_source(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another source on this machine has its own configuration; settings without one change nothing."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    write_snapshot("org/other", {"vae": {"block_out_channels": [1, 2, 3]}})
    model = ModelConfig.model_validate({"name": "x", "model": str(write_snapshot("org/small", SMALL))})
    (tmp_path / "vae.safetensors").write_bytes(b"")

    def with_vae(**settings: Any) -> ModelConfig:
        return ModelConfig.model_validate({**model.model_dump(exclude_unset=True), "components": {"vae": settings}})

    assert (64, 2) == sizes_of(catalog, with_vae(dtype="float32"))
    assert (128, 4) == sizes_of(catalog, with_vae(model="org/other", subfolder="vae"))
    assert (64, 2) == sizes_of(catalog, with_vae(model=str(tmp_path / "vae.safetensors")))
    assert (None, None) == sizes_of(catalog, with_vae(model="org/not-here"))
    assert (None, None) == sizes_of(catalog, with_vae(subfolder="vae_1_0"))


@pytest.mark.parametrize("family", [each for each in families() if each.configs], ids=lambda each: each.name)
def test_every_family_with_configurations_has_sizes(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: Any
) -> None:
    """Its single files state no size themselves."""
    monkeypatch.setattr("octabox.service.forms.model_sizes.match_family", lambda _: family)
    entry = catalog.pipeline(family.pipeline)
    sizes = ModelSizes(entry, write_file(tmp_path))

    assert sizes.default_side() in (512, 768, 1024)
    assert all(sizes.multiple(rule) in (8, 16) for rule in entry.sizes)


def test_what_is_not_known_is_none(catalog: Catalog, tmp_path: Path) -> None:
    """Without a folder, with broken files, or with a component from elsewhere nothing is claimed."""
    entry = catalog.pipeline("FluxPipeline")
    rule = SizeRule(("width",), expression="vae_scale_factor * 2")
    (tmp_path / "a").mkdir()
    broken = write_model(tmp_path / "a", {"vae": {}})
    (tmp_path / "a" / "vae" / "config.json").write_text("{")
    (tmp_path / "b").mkdir()
    replaced = write_model(tmp_path / "b", {"vae": {"block_out_channels": [1]}})
    replaced = replaced.model_copy(update={"components": {"vae": ComponentConfig(model="elsewhere")}})

    for model in (None, broken, replaced, ModelConfig(name="x", model="owner/name")):
        sizes = ModelSizes(entry, model)
        assert (None, None) == (sizes.default_side(), sizes.multiple(rule))
