"""Teach a model's text encoders the words of the embeddings folder, as it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import AddedToken

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.checkpoints.pickles import read_pickle

logger = logging.getLogger("octabox.adapters")

#: Kind of text encoders that are taught words, as their configuration names it.
MODEL_TYPE = "clip"

#: Entry of A1111's files in which the vectors stand.
VECTORS = "string_to_param"


def load_embeddings(pipe: Any, folder: str | None) -> tuple[str, ...]:
    """Teach a pipeline the embeddings of a folder that fit it, and return their names; the log tells why others do not.

    Args:
        pipe: The pipeline.
        folder: The folder; None, or one that is not there, holds none.
    """
    encoders = _encoders(pipe)
    if folder is None or not encoders or not hasattr(pipe, "load_textual_inversion"):
        return ()
    loaded = []
    for found in AdapterRegistry(None, Path(folder)).embeddings():
        word = found.name.rpartition("/")[2]
        try:
            if found.problem:
                raise IncompatibleWeightsError(found.problem)
            _load_embedding(encoders, word, _vectors(found.file))
        except OctaboxError as error:
            logger.info("the embedding %s is left out: %s", found.name, error.message)
        else:
            loaded.append(word)
    return tuple(loaded)


def _encoders(pipe: Any) -> list[tuple[Any, Any]]:
    """Return the text encoders that can be taught words, each with its tokenizer."""
    pairs = []
    for name, part in pipe.components.items():
        kind = getattr(getattr(part, "config", None), "model_type", "") or ""
        tokenizer = pipe.components.get(name.replace("text_encoder", "tokenizer"))
        if name.startswith("text_encoder") and tokenizer is not None and str(kind).startswith(MODEL_TYPE):
            pairs.append((tokenizer, part))
    return pairs


def _vectors(file: Path) -> list[torch.Tensor]:
    """Return the vectors of an embedding: a table of shape (vectors, width) for each encoder that it is for."""
    try:
        if file.suffix.lower() == ".safetensors":
            content: Any = load_file(file)
        else:
            read_pickle(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise IncompatibleWeightsError(f"{file.name} cannot be read: {error}.") from error
    if isinstance(content, Mapping) and isinstance(content.get(VECTORS), Mapping):
        content = content[VECTORS]
    tensors = [each for each in content.values() if isinstance(each, torch.Tensor)]
    return [each.reshape(1, -1) if each.ndim == 1 else each for each in tensors]


def _load_embedding(encoders: list[tuple[Any, Any]], word: str, tables: list[torch.Tensor]) -> None:
    """Add a word to every tokenizer, and its vectors to every encoder.

    Raises:
        IncompatibleWeightsError: They do not fit, or the word is taken.
    """
    matched = []
    for tokenizer, encoder in encoders:
        width = encoder.get_input_embeddings().weight.shape[1]
        table = next((each for each in tables if each.shape[-1] == width), None)
        if table is None:
            widths = " and ".join(str(each.shape[-1]) for each in tables)
            raise IncompatibleWeightsError(f"Its vectors are {widths} wide, and the model's {width}.")
        if not bool(torch.isfinite(table).all()):
            raise IncompatibleWeightsError("It holds numbers that are not finite.")
        if word in tokenizer.get_vocab():
            raise IncompatibleWeightsError(f"The model has the word {word!r} already; rename the file.")
        matched.append((tokenizer, encoder, table))
    if len(matched) < len(tables):
        raise IncompatibleWeightsError(f"It is for {len(tables)} text encoders, and the model has {len(matched)}.")
    for tokenizer, encoder, table in matched:
        _add(tokenizer, encoder, word, table)


def _add(tokenizer: Any, encoder: Any, word: str, table: torch.Tensor) -> None:
    """Add a word of one vector or several; diffusers turns the word in a prompt into all of them."""
    pieces = [word, *(f"{word}_{index}" for index in range(1, len(table)))]
    # As written and as a whole word alone: `art` is no part of `artist`.
    tokenizer.add_tokens([AddedToken(piece, single_word=True, normalized=False) for piece in pieces])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    weights = encoder.get_input_embeddings().weight
    with torch.no_grad():
        weights[tokenizer.convert_tokens_to_ids(pieces)] = table.to(weights)
