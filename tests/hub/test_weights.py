"""Weight files of folders by their names, and the dtypes in their headers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.hub.weights import only_variant, stored_dtype, weight_files


def folder_of(place: Path, *names: str) -> Path:
    """Return a folder with files of these names, each with one tensor, in float16 where the name says fp16."""
    for name in names:
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": torch.zeros(2, dtype=torch.float16 if "fp16" in name else torch.float32)}, file)
    return place


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("unet/diffusion_pytorch_model.safetensors", None),
        ("unet/diffusion_pytorch_model-00001-of-00002.safetensors", None),
        ("unet/diffusion_pytorch_model.fp16.safetensors", "fp16"),
        ("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors", "fp16"),
        ("unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors", "fp16"),
        ("text_encoder/pytorch_model.non_ema.bin", "non_ema"),
        ("model.bf16.safetensors", "bf16"),
    ],
)
def test_a_name_has_its_variant(name: str, variant: str | None, tmp_path: Path) -> None:
    """A variant is read from a file's name, whether it is a shard or all of the weights."""
    found = list(weight_files(folder_of(tmp_path, name)))

    assert [variant] == [file.variant for file in found]
    assert [name.rpartition("/")[0]] == [file.component for file in found]


def test_other_files_are_not_weights(tmp_path: Path) -> None:
    """What is in a folder besides the weights that diffusers and transformers load is left alone."""
    (tmp_path / "unet").mkdir()
    for name in ("config.json", "openvino_model.bin", "flax_model.msgpack", "optimizer.bin"):
        (tmp_path / "unet" / name).touch()

    assert [] == list(weight_files(tmp_path))


@pytest.mark.parametrize(
    ("names", "preferred", "variant"),
    [
        (["unet/model.safetensors"], None, None),
        (["unet/model.safetensors"], "fp16", None),
        (["unet/model.safetensors", "unet/model.fp16.safetensors"], None, None),
        (["unet/model.safetensors", "unet/model.fp16.safetensors"], "fp16", "fp16"),
        (["unet/model.fp16.safetensors"], None, "fp16"),
        (["unet/model.fp16.safetensors"], "bf16", "fp16"),
        (["unet/model.fp16.safetensors", "vae/model.safetensors"], None, "fp16"),
        (["unet/model.fp16.safetensors", "vae/model.fp16.safetensors", "vae/model.ema.safetensors"], None, "fp16"),
        (["unet/model.non_ema.safetensors"], None, "non_ema"),
    ],
)
def test_a_variant_is_taken_where_it_is_needed(
    names: list[str], preferred: str | None, variant: str | None, tmp_path: Path
) -> None:
    """Plain files are taken where they are complete and no variant is preferred; else the variant that is there."""
    assert variant == only_variant(folder_of(tmp_path, *names), preferred)


def test_the_dtype_is_that_of_most_weights(tmp_path: Path) -> None:
    """A small component in float32 does not make a model of half precision one of full precision."""
    save_file({"a": torch.zeros(100, dtype=torch.bfloat16), "b": torch.zeros(3)}, tmp_path / "model.safetensors")

    assert "BF16" == stored_dtype([tmp_path / "model.safetensors"])


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{}"])
def test_a_damaged_file_has_no_dtype(content: bytes, tmp_path: Path) -> None:
    """A file whose header cannot be read is no error here: its load says what is wrong with it."""
    (tmp_path / "model.safetensors").write_bytes(content)

    assert stored_dtype([tmp_path / "model.safetensors"]) is None
    assert stored_dtype([tmp_path / "missing.safetensors", tmp_path / "model.bin"]) is None
