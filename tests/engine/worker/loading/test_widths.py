"""Components that belong to different models are found when the model is loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from octabox.engine.worker.loading.widths import check_widths
from octabox.errors import IncompatibleWeightsError


def encoder(width: int, tokens: int = 100) -> Any:
    """Return a text encoder of this width."""
    table = torch.nn.Embedding(tokens, width)
    return SimpleNamespace(config={"hidden_size": width, "layers": 2}, get_input_embeddings=lambda: table)


def denoiser(attention: int, projected: int | None = None) -> torch.nn.Module:
    """Return a denoiser whose attention takes features of a width, which may be changed from another one before."""
    module = torch.nn.ModuleDict({"attention": torch.nn.Linear(attention, 7), "inner": torch.nn.Linear(7, 7)})
    if projected:
        module["projection"] = torch.nn.Linear(projected, attention)
    module.config = {"cross_attention_dim": attention}  # type: ignore[assignment]
    return module


TOKENIZER = SimpleNamespace(vocab_size=100)


@pytest.mark.parametrize(
    "components",
    [
        {"tokenizer": TOKENIZER, "text_encoder": encoder(64), "unet": denoiser(64)},
        {"tokenizer": None, "text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(112)},
        {"text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(48)},
        {"text_encoder": encoder(64), "transformer": denoiser(96, projected=64)},
        {"text_encoder": None, "unet": denoiser(96)},
        {"tokenizer": TOKENIZER, "text_encoder": encoder(64, tokens=128), "unet": SimpleNamespace(config=None)},
        {"tokenizer": TOKENIZER, "unet": denoiser(96)},
        {"tokenizer": TOKENIZER, "text_encoder": SimpleNamespace(config={}), "unet": denoiser(96)},
    ],
)
def test_components_of_one_model(components: dict[str, Any]) -> None:
    """One encoder, several that are joined or selected from, features of another width, and missing components."""
    check_widths("x", components)


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ({"text_encoder": encoder(64), "unet": denoiser(96)}, "unet takes text features of width 96, .* width 64"),
        ({"text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(96)}, "width 64 and 48"),
        ({"tokenizer_2": TOKENIZER, "text_encoder_2": encoder(64, tokens=99)}, "tokenizer_2 has 100 tokens, .* 99"),
    ],
)
def test_components_of_two_models(components: dict[str, Any], said: str) -> None:
    """The error names the component and both sizes."""
    with pytest.raises(IncompatibleWeightsError, match=f"'x': .*{said}"):
        check_widths("x", components)
