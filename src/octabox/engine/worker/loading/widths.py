"""Check that the components of a model fit each other: vocabularies and embeddings, text features and attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from octabox.errors import IncompatibleWeightsError

#: Prefixes of the names of tokenizers and of the text encoders that they belong to.
TOKENIZER, TEXT_ENCODER = "tokenizer", "text_encoder"

#: Setting of a denoiser for the width of the text features that its attention takes.
WIDTH = "cross_attention_dim"


def check_widths(model: str, components: Mapping[str, Any]) -> None:
    """Check that no token is without an embedding, and that the denoiser takes what the text encoders return.

    Args:
        model: Name of the model, for errors.
        components: Components of its pipeline.

    Raises:
        IncompatibleWeightsError: Two components do not fit.
    """
    for name, tokenizer in components.items():
        if name.startswith(TOKENIZER):
            encoder = components.get(name.replace(TOKENIZER, TEXT_ENCODER))
            _check_vocabulary(model, name, tokenizer, encoder)
    encoders = [part for name, part in components.items() if name.startswith(TEXT_ENCODER) and part is not None]
    for name, part in components.items():
        width = _settings(part).get(WIDTH)
        if isinstance(width, int) and encoders and isinstance(part, torch.nn.Module):
            _check_width(model, name, part, encoders)


def _check_vocabulary(model: str, name: str, tokenizer: Any, encoder: Any) -> None:
    """Check that a tokenizer has no more tokens than its text encoder has embeddings."""
    size = getattr(tokenizer, "vocab_size", None)
    table = None
    # Some encoders have no embeddings, and raise then.
    with suppress(AttributeError, NotImplementedError):
        table = encoder.get_input_embeddings().weight
    # A quantized table may be packed.
    if not isinstance(size, int) or table is None or not table.is_floating_point() or size <= table.shape[0]:
        return
    raise IncompatibleWeightsError(
        f"Model '{model}': {name} has {size} tokens, but its text encoder has embeddings for {table.shape[0]}.",
        hint="They belong to different models; download the model again, or set their sources under `components`.",
        model=model,
    )


def _check_width(model: str, name: str, denoiser: torch.nn.Module, encoders: Sequence[Any]) -> None:
    """Check that a layer of a denoiser takes the width of a text encoder, or the sum of those of several.

    That need not be a layer of attention: some denoisers change the width before.
    """
    sums = {0}
    for encoder in encoders:
        sums |= {total + each for total in sums for each in _integers(encoder)}
    accepted = {size for layer in denoiser.modules() if isinstance(size := getattr(layer, "in_features", None), int)}
    if not accepted or accepted & sums or sums == {0}:
        return
    width = _settings(denoiser).get(WIDTH)
    widths = " and ".join(str(_settings(encoder).get("hidden_size", "other")) for encoder in encoders)
    raise IncompatibleWeightsError(
        f"Model '{model}': {name} takes text features of width {width}, but the text encoder returns width {widths}.",
        hint="They belong to different models; download the model again, or set their sources under `components`.",
        model=model,
    )


def _integers(component: Any) -> Iterator[int]:
    """Yield the integer settings of a component: its widths are among them, whatever their names are."""
    for value in _settings(component).values():
        for each in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(each, int) and not isinstance(each, bool):
                yield each


def _settings(component: Any) -> Mapping[str, Any]:
    """Return the settings of a component."""
    config = getattr(component, "config", None) or {}
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)
