"""Configurations that we ship, against what their authors published."""

import importlib
import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from octabox.catalog.pipelines import load_catalog
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import families

PIPELINES = {family.configs: family.pipeline for family in families() if family.configs}


def part_class(folder: Path, part: str) -> Any:
    """Return the class of a component, by the index of its folder."""
    library, name = json.loads((folder / "model_index.json").read_text())[part]
    return getattr(importlib.import_module(library), name)


def test_there_is_a_bundle_for_each_family_that_names_one() -> None:
    """And none that no family names."""
    assert set(PIPELINES) == set(bundles.bundle_names())


@pytest.mark.parametrize(
    ("bundle", "part", "count", "tensor", "shape"),
    [
        ("sd1", "unet", 859_520_964, "conv_in.weight", (320, 4, 3, 3)),
        ("sd1-inpainting", "unet", 859_535_364, "conv_in.weight", (320, 9, 3, 3)),
        ("sd2", "unet", 865_910_724, "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", (320, 1024)),
        ("sd2-upscale", "unet", 473_398_020, "class_embedding.weight", (1000, 1024)),
        ("sdxl", "unet", 2_567_463_684, "add_embedding.linear_1.weight", (1280, 2816)),
        ("sdxl-refiner", "unet", 2_259_526_660, "add_embedding.linear_1.weight", (1536, 2560)),
        ("sd1", "vae", 83_653_863, "decoder.conv_in.weight", (512, 4, 3, 3)),
        ("flux-dev", "vae", 83_819_683, "decoder.conv_in.weight", (512, 16, 3, 3)),
        ("sd3", "transformer", 2_028_328_000, "pos_embed.proj.weight", (1536, 16, 2, 2)),
        ("sd3.5-large", "transformer", 8_056_627_520, "pos_embed.proj.weight", (2432, 16, 2, 2)),
        ("flux-dev", "transformer", 11_901_408_320, "x_embedder.weight", (3072, 64)),
        ("flux-schnell", "transformer", 11_891_178_560, "x_embedder.weight", (3072, 64)),
        ("flux-fill", "transformer", 11_902_391_360, "x_embedder.weight", (3072, 384)),
        ("sd1", "text_encoder", 123_060_480, "embeddings.token_embedding.weight", (49408, 768)),
        ("sd2", "text_encoder", 340_387_840, "embeddings.token_embedding.weight", (49408, 1024)),
        ("sdxl", "text_encoder_2", 694_659_840, "text_projection.weight", (1280, 1280)),
    ],
)
def test_components_have_the_shapes_that_were_published(
    bundle: str, part: str, count: int, tensor: str, shape: tuple[int, ...]
) -> None:
    """All numbers are counted, and one telling tensor is looked at; no memory is taken for them."""
    with bundles.bundle_folder(bundle, PIPELINES[bundle]) as folder:
        kind = part_class(folder, part)
        with torch.device("meta"):
            if hasattr(kind, "load_config"):
                model = kind.from_config(kind.load_config(folder, subfolder=part))
            else:
                model = kind(kind.config_class.from_pretrained(folder, subfolder=part))

    assert count == sum(weights.numel() for weights in model.parameters())
    shapes = {name.removeprefix("text_model."): tuple(weights.shape) for name, weights in model.named_parameters()}
    assert shape == shapes[tensor]


@pytest.mark.parametrize(
    ("bundle", "part", "padding"), [("sd1", "tokenizer", "<|endoftext|>"), ("sdxl", "tokenizer_2", "!")]
)
def test_the_tokenizer_speaks_clip(bundle: str, part: str, padding: str) -> None:
    """The numbers are those that CLIP gives these words, unusual letters included."""
    with bundles.bundle_folder(bundle, PIPELINES[bundle]) as folder:
        tokenizer = part_class(folder, part).from_pretrained(folder, subfolder=part)

    assert [49406, 320, 2368, 49407] == tokenizer("a cat").input_ids
    assert [49406, 320, 1125, 539, 320, 2368, 49407] == tokenizer("a photo of a cat").input_ids
    assert (49408, 77, padding) == (len(tokenizer), tokenizer.model_max_length, tokenizer.pad_token)
    assert "café ü 猫 🎨" in tokenizer.decode(tokenizer("Café ü 猫 🎨").input_ids)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("bundle", bundles.bundle_names())
def test_every_scheduler_can_be_made(bundle: str) -> None:
    """Its settings are ones that it knows."""
    with bundles.bundle_folder(bundle, PIPELINES[bundle]) as folder:
        kind = part_class(folder, "scheduler")
        settings, unused = kind.load_config(folder, subfolder="scheduler", return_unused_kwargs=True)
        scheduler = kind.from_config(settings)

    assert {} == unused
    assert {name for name in settings if not name.startswith("_")} <= set(scheduler.config)


def test_a_tokenizer_that_cannot_be_shipped_is_told() -> None:
    """T5's vocabulary is not ours to give."""
    assert ("tokenizer_2",) == bundles.missing_components("flux-dev")
    assert ("tokenizer_3",) == bundles.missing_components("sd3")
    assert () == bundles.missing_components("sdxl")


def test_a_folder_is_gone_afterwards() -> None:
    """Nothing is left on the disk."""
    with bundles.bundle_folder("sd1", "X") as folder:
        assert "X" == json.loads((folder / "model_index.json").read_text())["_class_name"]

    assert not folder.exists()


@pytest.mark.parametrize("bundle", bundles.bundle_names())
def test_a_bundle_has_all_that_its_pipeline_needs(bundle: str) -> None:
    """Every component that is not optional, and none that the pipeline does not have."""
    entry = load_catalog().pipelines[PIPELINES[bundle]]
    with bundles.bundle_folder(bundle, entry.name) as folder:
        index = json.loads((folder / "model_index.json").read_text())

    parts = {name for name, value in index.items() if isinstance(value, list)}
    assert entry.required_components <= parts
    assert parts <= {component.name for component in entry.components}
    optional = {name for name, value in index.items() if value == [None, None]}
    assert not optional & {name for name in entry.required_components if name not in _optional(entry.name)}


def _optional(pipeline: str) -> list[str]:
    """Return the components that a class says it may be without."""
    found = getattr(diffusers, pipeline)._optional_components
    assert isinstance(found, list)
    return found


def test_a_bundle_tells_its_noise_scheduler() -> None:
    """With its class, as its folder would."""
    found = bundles.scheduler_config("sd2")

    assert found is not None
    assert ("DDIMScheduler", "v_prediction") == (found["_class_name"], found["prediction_type"])
