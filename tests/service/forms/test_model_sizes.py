"""Sizes of a model that is not loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from octabox.catalog.entries import SizeRule
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.service.forms.model_sizes import ModelSizes


def write_model(folder: Path, configs: dict[str, Any]) -> ModelConfig:
    """Write a model folder with these configurations of its components."""
    index = {name: ["diffusers", "Part"] for name in configs}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "X", **index}))
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    return ModelConfig(name="x", model=str(folder))


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


def test_what_is_not_known_is_none(catalog: Catalog, tmp_path: Path) -> None:
    """Without a folder, with broken files, or with a component from elsewhere nothing is claimed."""
    entry = catalog.pipeline("FluxPipeline")
    rule = SizeRule(("width",), expression="vae_scale_factor * 2")
    (tmp_path / "a").mkdir()
    broken = write_model(tmp_path / "a", {"vae": {}})
    (tmp_path / "a" / "vae" / "config.json").write_text("{")
    (tmp_path / "b").mkdir()
    replaced = write_model(tmp_path / "b", {"vae": {"block_out_channels": [1]}})
    replaced = replaced.model_copy(update={"components": {"vae": "elsewhere"}})

    for model in (None, broken, replaced, ModelConfig(name="x", model="owner/name")):
        sizes = ModelSizes(entry, model)
        assert (None, None) == (sizes.default_side(), sizes.multiple(rule))
