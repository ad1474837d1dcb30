"""Load the textual inversion embeddings of a folder into a model's text encoders."""

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

#: Prefix of `model_type` of the supported text encoders.
MODEL_TYPE = "clip"

#: Key of the vectors in A1111's files.
VECTORS = "string_to_param"


def load_embeddings(pipe: Any, folder: str | None) -> tuple[str, ...]:
    """Load the compatible embeddings of a folder and return their names; others are logged with the reason.

    Args:
        pipe: The pipeline.
        folder: Folder of embeddings; it may be None or missing.
    """
    encoders = _find_encoders(pipe)
    if folder is None or not encoders or not hasattr(pipe, "load_textual_inversion"):
        return ()
    loaded = []
    for embedding in AdapterRegistry(None, Path(folder)).embeddings():
        token = embedding.name.rpartition("/")[2]
        try:
            if embedding.problem:
                raise IncompatibleWeightsError(embedding.problem)
            _load_embedding(encoders, token, _read_vectors(embedding.file))
        except OctaboxError as error:
            logger.info("the embedding %s is not loaded: %s", embedding.name, error.message)
        else:
            loaded.append(token)
    return tuple(loaded)


def _find_encoders(pipe: Any) -> list[tuple[Any, Any]]:
    """Return the CLIP text encoders of a pipeline, each with its tokenizer."""
    pairs = []
    for name, component in pipe.components.items():
        model_type = getattr(getattr(component, "config", None), "model_type", "") or ""
        tokenizer = pipe.components.get(name.replace("text_encoder", "tokenizer"))
        if name.startswith("text_encoder") and tokenizer is not None and str(model_type).startswith(MODEL_TYPE):
            pairs.append((tokenizer, component))
    return pairs


def _read_vectors(file: Path) -> list[torch.Tensor]:
    """Read the vectors of an embedding, a tensor of shape (vectors, width) for each text encoder."""
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


def _load_embedding(encoders: list[tuple[Any, Any]], token: str, tables: list[torch.Tensor]) -> None:
    """Add a token to every tokenizer, and its vectors to every encoder.

    Raises:
        IncompatibleWeightsError: The vectors do not fit, or the token exists.
    """
    matched = []
    for tokenizer, encoder in encoders:
        width = encoder.get_input_embeddings().weight.shape[1]
        table = next((each for each in tables if each.shape[-1] == width), None)
        if table is None:
            widths = " and ".join(str(each.shape[-1]) for each in tables)
            raise IncompatibleWeightsError(f"Its vectors are {widths} wide, and the model's {width}.")
        if not bool(torch.isfinite(table).all()):
            raise IncompatibleWeightsError("It contains values that are not finite.")
        if token in tokenizer.get_vocab():
            raise IncompatibleWeightsError(f"The tokenizer already has the token {token!r}; rename the file.")
        matched.append((tokenizer, encoder, table))
    if len(matched) < len(tables):
        raise IncompatibleWeightsError(f"It is for {len(tables)} text encoders, and the model has {len(matched)}.")
    for tokenizer, encoder, table in matched:
        _add_tokens(tokenizer, encoder, token, table)


def _add_tokens(tokenizer: Any, encoder: Any, token: str, table: torch.Tensor) -> None:
    """Add a token for each vector; diffusers expands the first one in a prompt to all of them."""
    tokens = [token, *(f"{token}_{index}" for index in range(1, len(table)))]
    # Only as written and as a complete word: `art` does not match in `artist`.
    tokenizer.add_tokens([AddedToken(each, single_word=True, normalized=False) for each in tokens])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    weights = encoder.get_input_embeddings().weight
    with torch.no_grad():
        weights[tokenizer.convert_tokens_to_ids(tokens)] = table.to(weights)
