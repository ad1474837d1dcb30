"""Count the tokens of a prompt by each tokenizer of a model that is not loaded, from the files of its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from octabox.config.model import ModelConfig
from octabox.engine.memory.places import component_path, model_path
from octabox.errors import OctaboxError
from octabox.hub.component_files import read_settings
from octabox.hub.component_widths import TEXT_ENCODER, TOKENIZER
from octabox.hub.folder import folder_index, index_components
from octabox.hub.limits import MAX_JSON_BYTES
from octabox.prompts.attention import parse_prompt
from octabox.prompts.names import PLAIN

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: The file of a tokenizer of the library ``tokenizers``, and those of the byte-pair encoding of older CLIP models.
FILE, PAIRS = "tokenizer.json", ("vocab.json", "merges.txt")

#: The syntax whose weights follow words and brackets, as in ``word++`` and ``(two words)1.3``, and what is not text in it.
COMPEL = "compel"
_COMPEL_WEIGHTS = re.compile(r"(?<=[\w)])(?:\++|-+)(?!\w)|(?<=\))\d*\.?\d+|(?<!\\)[()]")

#: The limit that a tokenizer without one states is larger than this.
NO_LIMIT = 1_000_000

#: A folder that does not exist.
NOWHERE = Path(os.devnull)

#: Tokenizers that are kept, by their files.
MAX_TOKENIZERS = 8


@dataclass(frozen=True)
class TokenCount:
    """The tokens of a prompt by one tokenizer.

    Args:
        tokenizer: Its component.
        tokens: The number of tokens, special ones included; None if its files cannot be read without loading the model.
        max_tokens: How many its text encoder takes in one call, special ones included; None if that is not fixed.
    """

    tokenizer: str
    tokens: int | None
    max_tokens: int | None = None


def count_model_tokens(config: ModelConfig, prompt: str, syntax: str = PLAIN) -> list[TokenCount]:
    """Return what `count_tokens` does for a configured model: none if it is not on this machine, or is a single file.

    Args:
        config: The configuration of the model, which may have other sources for components.
        prompt: The prompt.
        syntax: Its syntax.

    Raises:
        InvalidParameterError: A weight is not valid.
    """
    places: dict[str, Path | None] = {}
    for name, part in config.parts():
        if part.model:
            source = component_path(part.model)
            places[name] = source / (part.subfolder or "") if source else None
    omitted = config.omitted()
    found = count_tokens(model_path(config) or NOWHERE, prompt, syntax, {**places, **omitted})
    return [each for each in found if each.tokenizer not in omitted]


def count_tokens(
    folder: Path, prompt: str, syntax: str = PLAIN, places: Mapping[str, Path | None] = MappingProxyType({})
) -> list[TokenCount]:
    """Return the number of tokens of a prompt by each tokenizer of a model.

    Args:
        folder: Folder of the model; any other path has none.
        places: Folders of components that are elsewhere; None for those that are not on this machine.
        prompt: The prompt; weights of its syntax are not text, and wildcards are counted as they are written.
        syntax: Its syntax.

    Raises:
        InvalidParameterError: A weight is not valid.
    """
    text = _text_of(prompt, syntax)
    return [_count(folder, name, text, places) for name in _tokenizers_of(folder, places)]


def _text_of(prompt: str, syntax: str) -> str:
    """Return the text of a prompt without its weights."""
    if syntax == PLAIN:
        return prompt
    if syntax == COMPEL:
        return _COMPEL_WEIGHTS.sub("", prompt)
    return parse_prompt(prompt).text


def _tokenizers_of(folder: Path, places: Collection[str]) -> Iterator[str]:
    """Yield the components of a model that are tokenizers, in its folder or elsewhere."""
    try:
        components = index_components(folder_index(folder)) if folder.is_dir() else {}
    except (OctaboxError, OSError):
        return
    yield from (
        name for name in components if name.startswith(TOKENIZER) and (name in places or (folder / name).is_dir())
    )


def _count(folder: Path, name: str, text: str, places: Mapping[str, Path | None]) -> TokenCount:
    """Return the number of tokens by one tokenizer."""
    encoder = name.replace(TOKENIZER, TEXT_ENCODER, 1)
    place, encoder_place = places.get(name, folder / name), places.get(encoder, folder / encoder)
    tokenizer = None if place is None else _open(place)
    tokens = None if tokenizer is None else len(tokenizer.encode(text).ids)
    return TokenCount(name, tokens, _limit(place or NOWHERE, encoder_place or NOWHERE))


def _open(folder: Path) -> Tokenizer | None:
    """Return a tokenizer; None if its files are in a format of another library."""
    files = [file for file in (folder / FILE, *(folder / name for name in PAIRS)) if file.is_file()]
    return _read(folder, max(file.stat().st_mtime_ns for file in files)) if files else None


@lru_cache(maxsize=MAX_TOKENIZERS)
def _read(folder: Path, changed: int) -> Tokenizer | None:  # noqa: ARG001 (a part of the key)
    """Return the tokenizer of a folder, whose files were changed last at this time."""
    from tokenizers import Tokenizer  # noqa: PLC0415 (not before somebody asks)

    try:
        if (folder / FILE).is_file():
            tokenizer = Tokenizer.from_file(str(folder / FILE))
            # The files may hold what the library that saved them did last.
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return tokenizer
        return _byte_pairs(folder)
    except Exception:  # noqa: BLE001 (the library raises bare exceptions)
        return None


def _byte_pairs(folder: Path) -> Tokenizer | None:
    """Return a tokenizer with CLIP's byte-pair encoding; None if the files are of another one."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: PLC0415

    settings = read_settings(folder / "tokenizer_config.json")
    words = {name: _word(settings.get(name)) for name in ("bos_token", "eos_token")}
    vocabulary = read_settings(folder / PAIRS[0], MAX_JSON_BYTES)  # That of CLIP has about 1 MiB.
    if not all(word in vocabulary for word in words.values()) or not any(each.endswith("</w>") for each in vocabulary):
        return None
    model = models.BPE.from_file(
        *(str(folder / name) for name in PAIRS), continuing_subword_prefix="", end_of_word_suffix="</w>"
    )
    tokenizer = Tokenizer(model)
    lower = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(lower)
    pattern = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(pattern, behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    end, begin = ((word, vocabulary[word]) for word in (words["eos_token"], words["bos_token"]))
    tokenizer.post_processor = processors.RobertaProcessing(end, begin, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def _limit(tokenizer: Path, encoder: Path) -> int | None:
    """Return how many tokens the text encoder of a tokenizer takes in one call, by their folders."""
    limits = (
        read_settings(tokenizer / "tokenizer_config.json").get("model_max_length"),
        read_settings(encoder / "config.json").get("max_position_embeddings"),
    )
    found = [int(each) for each in limits if isinstance(each, int | float) and 0 < each < NO_LIMIT]
    return min(found, default=None)


def _word(token: Any) -> str:
    """Return the text of a special token, which may be an object."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token or "")
