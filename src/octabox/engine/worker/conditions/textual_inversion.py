"""Load the textual inversion embeddings of a folder into a model's text encoders."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import AddedToken

from octabox.engine.worker.single_files.pickled_weights import load_pickled
from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.files_in_use import hold

logger = logging.getLogger("octabox.adapters")

#: Prefix of `model_type` of the supported text encoders.
MODEL_TYPE = "clip"

#: Key of the vectors in A1111's files.
VECTORS = "string_to_param"

#: Words with the same vectors, of which there is a tensor for each text encoder.
Group: TypeAlias = tuple[tuple[str, ...], list[torch.Tensor]]


@dataclass(frozen=True)
class LoadedEmbeddings:
    """The words of the textual inversion embeddings of a model.

    Args:
        words: Names of the embeddings by word.
        unused: Why a word has no effect, by word.
    """

    words: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)

    def warnings(self, prompt: str) -> list[str]:
        """Return a warning for each word in a prompt that has no effect, or is written in another case."""
        shared = [word for word in self.unused if word in self.words and _find(prompt, word)]
        found = [f"'{word}' in the prompt {self.unused[word]}" for word in shared]
        rest = prompt
        # A word may be a part of another one, such as `gem` of `<gem>`.
        for word in sorted(self.words, key=len, reverse=True):
            rest = _pattern(word).sub(" ", rest)
        for word, reason in self.unused.items():
            if word not in self.words and _find(rest, word):
                found.append(f"'{word}' in the prompt {reason}")
                rest = _pattern(word).sub(" ", rest)
        for word in sorted(self.words, key=len, reverse=True):
            if match := _find(rest, word, re.IGNORECASE):
                name = self.words[word]
                found.append(f"'{match[0]}' in the prompt is not the embedding {name}, whose word is written '{word}'.")
                rest = _pattern(word, re.IGNORECASE).sub(" ", rest)
        return found


def load_embeddings(pipe: Any, folder: str | None) -> LoadedEmbeddings:
    """Load the compatible embeddings of a folder and return their words, and those of the others with the reason.

    Args:
        pipe: The pipeline.
        folder: Folder of embeddings; it may be None or missing.
    """
    encoders = _find_encoders(pipe)
    if folder is None or not encoders or not hasattr(pipe, "load_textual_inversion"):
        return LoadedEmbeddings()
    words: dict[str, str] = {}
    unused: dict[str, str] = {}
    for embedding in AdapterRegistry(None, Path(folder)).embeddings():
        try:
            if embedding.problem:
                raise IncompatibleWeightsError(embedding.problem)
            existing = _load_embedding(encoders, _tables_by_words(embedding.words, _read_vectors(embedding.file)))
            hold(embedding.file)
        except OctaboxError as error:
            logger.info("the embedding %s is not loaded: %s", embedding.name, error.message)
            reason = error.message[:1].lower() + error.message[1:]
            reasons = dict.fromkeys(embedding.words, f"is not the embedding {embedding.name}: {reason}")
        else:
            others = [word for word in embedding.words if word not in existing]
            words |= dict.fromkeys(others, embedding.name)
            instead = f"; write {' or '.join(others)}" if others else "; rename its file"
            reasons = dict.fromkeys(
                existing, f"is not the embedding {embedding.name}: the tokenizer already has this token{instead}."
            )
            for word in existing:
                logger.info("the embedding %s has no word %r: the tokenizer already has it", embedding.name, word)
        unused |= {word: reason for word, reason in reasons.items() if word not in unused}
        for word in embedding.shadowed:
            owner = words.get(word)
            if owner is not None:
                unused.setdefault(word, f"is the embedding {owner}, not {embedding.name}, which has the same word.")
    return LoadedEmbeddings(
        words, {word: reason for word, reason in unused.items() if _has_effect(word, words, reason)}
    )


def _has_effect(word: str, words: Mapping[str, str], reason: str) -> bool:
    return word not in words or reason.startswith("is the embedding")


def _pattern(word: str, flags: int = 0) -> re.Pattern[str]:
    """Return the pattern of a complete word."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", flags)


def _find(prompt: str, word: str, flags: int = 0) -> re.Match[str] | None:
    """Return where a prompt has a complete word."""
    return _pattern(word, flags).search(prompt)


def _find_encoders(pipe: Any) -> list[tuple[Any, Any]]:
    """Return the CLIP text encoders of a pipeline, each with its tokenizer."""
    pairs = []
    for name, component in pipe.components.items():
        model_type = getattr(getattr(component, "config", None), "model_type", "") or ""
        tokenizer = pipe.components.get(name.replace("text_encoder", "tokenizer"))
        if name.startswith("text_encoder") and tokenizer is not None and str(model_type).startswith(MODEL_TYPE):
            pairs.append((tokenizer, component))
    return pairs


def _read_vectors(file: Path) -> dict[str, torch.Tensor]:
    """Read the vectors of an embedding, a tensor of shape (vectors, width) for each text encoder, or for each token."""
    try:
        if file.suffix.lower() == ".safetensors":
            content: Any = load_file(file)
        else:
            read_pickle(file)
            content = load_pickled(file)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise IncompatibleWeightsError(f"{file.name} cannot be read: {error}.") from error
    if isinstance(content, Mapping) and isinstance(content.get(VECTORS), Mapping):
        content = content[VECTORS]
    tensors = {str(name): each for name, each in content.items() if isinstance(each, torch.Tensor)}
    return {name: each.reshape(1, -1) if each.ndim == 1 else each for name, each in tensors.items()}


def _tables_by_words(words: Sequence[str], vectors: Mapping[str, torch.Tensor]) -> list[Group]:
    """Return the words of an embedding with their vectors: all have the same, unless the file has some for each token."""
    if len(vectors) > 1 and set(words) <= set(vectors):
        return [((word,), [vectors[word]]) for word in words]
    return [(tuple(words), [*vectors.values()])]


def _load_embedding(encoders: list[tuple[Any, Any]], groups: list[Group]) -> tuple[str, ...]:
    """Add words to every tokenizer, and their vectors to every encoder.

    Returns:
        The words that a tokenizer already has, or that would have such a token for one of their vectors.

    Raises:
        IncompatibleWeightsError: The vectors do not fit; no word is added then.
    """
    matched = [(word, _match(encoders, tables)) for words, tables in groups for word in words]
    existing = tuple(
        word
        for word, tables in matched
        if any(not tokenizer.get_vocab().keys().isdisjoint(_tokens(word, table)) for tokenizer, _, table in tables)
    )
    for word, tables in matched:
        for tokenizer, encoder, table in tables if word not in existing else ():
            _add_tokens(tokenizer, encoder, _tokens(word, table), table)
    return existing


def _match(encoders: list[tuple[Any, Any]], tables: list[torch.Tensor]) -> list[tuple[Any, Any, torch.Tensor]]:
    """Return every tokenizer and encoder with the vectors that are for it.

    Raises:
        IncompatibleWeightsError: The vectors do not fit.
    """
    matched = []
    for tokenizer, encoder in encoders:
        width = encoder.get_input_embeddings().weight.shape[1]
        table = next((each for each in tables if each.shape[-1] == width), None)
        if table is None:
            widths = " and ".join(str(each.shape[-1]) for each in tables)
            raise IncompatibleWeightsError(f"Its vectors are {widths} wide, and the model's {width}.")
        if not bool(torch.isfinite(table.float()).all()):
            raise IncompatibleWeightsError("It contains values that are not finite.")
        matched.append((tokenizer, encoder, table))
    if len(matched) < len(tables):
        raise IncompatibleWeightsError(f"It is for {len(tables)} text encoders, and the model has {len(matched)}.")
    return matched


def _tokens(word: str, table: torch.Tensor) -> list[str]:
    """Return the tokens of a word, one for each vector; diffusers expands the first one in a prompt to all of them."""
    return [word, *(f"{word}_{index}" for index in range(1, len(table)))]


def _add_tokens(tokenizer: Any, encoder: Any, tokens: list[str], table: torch.Tensor) -> None:
    """Add a token for each vector."""
    # Only as written and as a complete word: `art` does not match in `artist`.
    tokenizer.add_tokens([AddedToken(each, single_word=True, normalized=False) for each in tokens])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    weights = encoder.get_input_embeddings().weight
    with torch.no_grad():
        weights[tokenizer.convert_tokens_to_ids(tokens)] = table.to(weights)
