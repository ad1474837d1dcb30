"""What a model in the cache or in a folder lacks, by its index and its files, without the list of the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from octabox.hub.cache_layout import CachedRepo
from octabox.hub.snapshots import find_snapshot, missing_files

INDEX = {
    "_class_name": "X",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "image_processor": ["diffusers", "VaeImageProcessor"],
    "safety_checker": [None, None],
}
UNET, ENCODER = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
FILES = {
    "model_index.json": json.dumps(INDEX),
    "unet/config.json": "{}",
    UNET: "weights",
    "text_encoder/config.json": "{}",
    ENCODER: "weights",
    "tokenizer/vocab.json": "{}",
    "scheduler/scheduler_config.json": "{}",
    "image_processor/config.json": "{}",
}
COMMIT = "a" * 40


def cache(files: dict[str, str]) -> Path:
    """Add a commit to the cache as other programs do, without the list of its files, and return its folder."""
    cached = CachedRepo("org/model")
    cached.set_revision(None, COMMIT)
    for name, content in files.items():
        place = cached.snapshot(COMMIT) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return cached.snapshot(COMMIT)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_complete_model() -> None:
    """A tokenizer, a scheduler and an image processor have no weights."""
    assert cache(FILES) == find_snapshot("org/model")


@pytest.mark.parametrize("name", [UNET, ENCODER])
def test_a_component_without_weights_is_not_complete(name: str) -> None:
    """Its folder with the configuration is what an interrupted download leaves; it is enough where no weights are needed."""
    folder = cache({each: content for each, content in FILES.items() if each != name})

    assert (name,) == missing_files("org/model", COMMIT)
    assert find_snapshot("org/model") is None
    assert folder == find_snapshot("org/model", weightless=[name.partition("/")[0]])
    assert folder == find_snapshot("org/model", omit=[name.partition("/")[0]])


def test_weights_of_any_name_and_format_count() -> None:
    """A variant is complete, and so is a format of another library."""
    others = {"unet/diffusion_pytorch_model.fp16.safetensors": "weights", "text_encoder/flax_model.msgpack": "weights"}
    kept = {each: content for each, content in FILES.items() if each not in (UNET, ENCODER)}

    assert cache({**kept, **others}) == find_snapshot("org/model")


def test_a_missing_shard() -> None:
    """It is named."""
    first, second = (f"unet/diffusion_pytorch_model-0000{each}-of-00002.safetensors" for each in (1, 2))
    shards = {"weight_map": {"a": first.partition("/")[2], "b": second.partition("/")[2]}}
    kept = {each: content for each, content in FILES.items() if each != UNET}
    cache({**kept, first: "weights", "unet/diffusion_pytorch_model.safetensors.index.json": json.dumps(shards)})

    assert (second,) == missing_files("org/model", COMMIT)
