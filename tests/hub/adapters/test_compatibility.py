"""Whether an adapter fits a model, told from files alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox import demo
from octabox.hub.adapters.adapter_file import read_embedding, read_lora
from octabox.hub.adapters.compatibility import incompatibility
from octabox.hub.adapters.serialization import adapter_to_json
from trained import EMBEDDINGS, HEARTS

LORA, WORD = read_lora(Path(HEARTS), "hearts"), read_embedding(EMBEDDINGS / "ruby.safetensors", "ruby")


def test_what_was_trained_for_a_model_fits_it() -> None:
    """The widths are the same."""
    assert ["", ""] == [incompatibility(each, demo.FOLDER) for each in (LORA, WORD)]


def test_other_widths_do_not_fit(tmp_path: Path) -> None:
    """The reason names both."""
    place = "unet.mid_block.attn2.to_k.lora_A.weight"
    save_file({place: torch.zeros(4, 768)}, tmp_path / "lora.safetensors")
    save_file({"emb_params": torch.zeros(4, 768)}, tmp_path / "word.safetensors")
    lora, word = read_lora(tmp_path / "lora.safetensors", "x"), read_embedding(tmp_path / "word.safetensors", "x")

    assert "It was trained with text features of width 768, but the width of the model is 64." == incompatibility(
        lora, demo.FOLDER
    )
    assert "Its vectors have width 768, but those of the model have 64." == incompatibility(word, demo.FOLDER)
    assert (False, True) == (
        adapter_to_json(lora, demo.FOLDER)["fits"],
        "768" in adapter_to_json(word, demo.FOLDER)["reason"],
    )


def test_a_model_without_a_unet(tmp_path: Path) -> None:
    """A LoRA for a UNet does not fit a transformer, nor a word a model without such an encoder."""
    (tmp_path / "transformer").mkdir()
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / "config.json").write_text('{"model_type": "t5", "d_model": 64}')

    assert "which the model does not have" in str(incompatibility(LORA, tmp_path))
    assert "no text encoder" in str(incompatibility(WORD, tmp_path))


@pytest.mark.parametrize("found", [LORA, WORD])
def test_of_what_is_not_here_nothing_is_told(tmp_path: Path, found: object) -> None:
    """A Hub id or a single file has no folders to look into."""
    for place in (tmp_path / "none", Path("owner/name"), Path(HEARTS)):
        assert incompatibility(found, place) is None  # type: ignore[arg-type]
