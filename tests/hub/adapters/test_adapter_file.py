"""What files of LoRAs and embeddings say of themselves, read from their heads alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.hub.adapters.adapter_file import kind_of_shapes, read_embedding, read_lora
from trained import EMBEDDINGS, HEARTS


def test_a_lora() -> None:
    """Kind, layout, rank, parts, base and size; nothing is wrong with it."""
    found = read_lora(Path(HEARTS), "hearts")

    assert ("LoRA", "peft", 4, ("text_encoder", "unet")) == (found.network, found.layout, found.rank, found.parts)
    assert ("octabox-demo", (64,), 144, "") == (found.base, found.widths, found.tensors, found.problem)
    assert Path(HEARTS).stat().st_size == found.size


PLACE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(folder: Path, notes: dict[str, str] | None = None, width: int = 768, other: str = "") -> Path:
    """Write a LoRA of one layer in kohya's layout."""
    down, up = torch.zeros(8, width), torch.zeros(320, 8)
    content = {other: up} if other else {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(4.0)}
    save_file({f"{PLACE}.{name}": tensor for name, tensor in content.items()}, folder / "x.safetensors", notes)
    return folder / "x.safetensors"


@pytest.mark.parametrize(
    ("notes", "width", "base"),
    [
        ({}, 768, "Stable Diffusion 1"),
        ({}, 2048, "Stable Diffusion XL"),
        ({}, 99, ""),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, 2048, "sdxl_base_v1-0"),
        ({"ss_sd_model_name": "a.ckpt", "modelspec.architecture": "flux-1-dev/lora"}, 768, "flux-1-dev/lora"),
    ],
)
def test_what_a_lora_is_for(tmp_path: Path, notes: dict[str, str], width: int, base: str) -> None:
    """As its author noted, else as the width of its text features tells."""
    found = read_lora(lora(tmp_path, notes, width), "x")

    assert (base, 8, "kohya", ("unet",), 2) == (found.base, found.rank, found.layout, found.parts, found.tensors)


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "in my style, mystyle"}, ("in my style", "mystyle")),
        ({"ss_tag_frequency": json.dumps({"1_a": {"cat": 3, "sks": 9}, "b": {"cat": 8}})}, ("cat", "sks")),
        ({"ss_tag_frequency": "[1, 2]"}, ()),
        ({"ss_tag_frequency": "{"}, ()),
    ],
)
def test_the_words_that_call_it(tmp_path: Path, notes: dict[str, str], words: tuple[str, ...]) -> None:
    """As noted, else the most frequent of the captions that it was trained with; notes may be anything."""
    assert words == read_lora(lora(tmp_path, notes), "x").words


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("hada_w1_a", "LoHa"),
        ("lokr_w2", "LoKr"),
        ("oft_blocks", "OFT"),
        ("a1.weight", "GLoRA"),
        ("on_input", "IA3"),
        ("dora_scale", "DoRA"),
        ("lora_mid.weight", "LoCon in Tucker form"),
        ("diff", "whole differences"),
    ],
)
def test_other_kinds_are_told(tmp_path: Path, name: str, network: str) -> None:
    """Each names its tensors in its own way."""
    assert network == read_lora(lora(tmp_path, other=name), "x").network


def test_an_embedding() -> None:
    """It holds no token, and its vectors are counted; its words are those of its place."""
    found = read_embedding(EMBEDDINGS / "plumstar.safetensors", "plumstar")

    assert ((), 2, (64,), "") == (found.words, found.rank, found.widths, found.problem)


def test_an_embedding_for_two_encoders(tmp_path: Path) -> None:
    """The widths tell which model it is for."""
    save_file({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, tmp_path / "x.safetensors")

    assert "Stable Diffusion XL" == read_embedding(tmp_path / "x.safetensors", "x").base


def test_an_embedding_that_torch_pickled(tmp_path: Path) -> None:
    """Nothing of it is run."""
    torch.save({"string_to_param": {"*": torch.zeros(3, 768)}, "name": "x"}, tmp_path / "x.pt")
    found = read_embedding(tmp_path / "x.pt", "x")

    assert (3, "Stable Diffusion 1", "") == (found.rank, found.base, found.problem)


@pytest.mark.parametrize("read", [read_lora, read_embedding])
@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_is_wrong_is_told(read: object, content: bytes, suffix: str, tmp_path: Path) -> None:
    """A file that is none is listed with the reason, and no error."""
    (tmp_path / f"x{suffix}").write_bytes(content)

    assert callable(read)
    assert read(tmp_path / f"x{suffix}", "x").problem


def test_a_whole_model_is_no_lora(tmp_path: Path) -> None:
    """Its tensors have other names."""
    save_file({"model.diffusion_model.out.weight": torch.zeros(2)}, tmp_path / "x.safetensors")

    assert "is not a LoRA" in read_lora(tmp_path / "x.safetensors", "x").problem


def test_a_text_encoder_is_no_embedding() -> None:
    """Its tensors have one or two dimensions too, and the names of layers."""
    encoder = {f"encoder.block.{index}.layer.0.weight": (64, 64) for index in range(4)} | {"shared.weight": (100, 64)}

    assert kind_of_shapes(encoder) is None
    assert ["embedding"] * 3 == [
        kind_of_shapes(each)
        for each in ({"emb_params": (2, 768)}, {"clip_l": (1, 768), "clip_g": (1, 1280)}, {"<a.b>": (768,)})
    ]
