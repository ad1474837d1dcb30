"""Read the metadata of adapter files without loading their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.adapters.lora_networks import kind_of, layout_of, parts_of, rank_of, text_width_of, weights_of
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.checkpoints.tensors import Shapes, read_header
from octabox.hub.limits import MAX_HEADER_BYTES
from octabox.security.filesystem import open_file
from octabox.security.json_files import parse_json

#: Suffixes of adapter files.
SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".ckpt"})

#: Metadata keys for the base model, the most specific first.
BASE_KEYS = ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")

#: Metadata keys for the trigger words.
TRIGGER_KEYS = ("modelspec.trigger_phrase", "modelspec.trigger_word", "trigger_words", "ss_trigger_words")

#: Metadata key for a preview as a data URI, from the specification of the metadata of models (modelspec).
THUMBNAIL_KEY = "modelspec.thumbnail"

#: Base models by the width of the text features of a UNet.
WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL", 1280: "SDXL refiner"}

#: Base models by the widths of the vectors of an embedding.
ENCODERS = {(768,): "Stable Diffusion 1", (1024,): "Stable Diffusion 2", (768, 1280): "Stable Diffusion XL"}

#: The most text encoders that an embedding has vectors for, as far as known.
MAX_ENCODERS = max(map(len, ENCODERS))

#: Names of the vectors in files of embeddings that hold no token; another name is the token.
VECTOR_NAMES = frozenset({"emb_params", "clip_l", "clip_g", "*"})

#: Number of the most frequent words of the training captions that are reported.
MAX_WORDS = 5


@dataclass(frozen=True)
class AdapterFile:
    """The metadata of an adapter file.

    Args:
        name: Its name in requests.
        file: Its path.
        kind: Kind of the adapter.
        network: Kind of network, such as LoRA or LoHa; empty for an embedding.
        layout: Naming scheme of its tensors.
        base: Base model, if known.
        rank: Largest rank of its matrices, or number of vectors of an embedding.
        words: Trigger words.
        shadowed: Words that it shares with another file, which has them.
        widths: Width of the text features in training, or of the vectors of an embedding.
        parts: Components that it changes.
        tensors: Number of tensors with weights.
        size: Size of the file in bytes.
        problem: Why it cannot be used; empty if it can.
        thumbnail: Whether its metadata has a preview.
    """

    name: str
    file: Path
    kind: Literal["lora", "embedding"]
    network: str = ""
    layout: str = ""
    base: str = ""
    rank: int | None = None
    words: tuple[str, ...] = ()
    shadowed: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()
    tensors: int = 0
    size: int = 0
    problem: str = ""
    thumbnail: bool = False


def kind_of_shapes(shapes: Shapes) -> Literal["checkpoint", "lora", "embedding"] | None:
    """Return what a single file is by the shapes of its tensors; None if they are those of nothing known.

    Args:
        shapes: Shapes of its tensors by name.
    """
    family = match_family(shapes)
    if family is not None and not family.not_a_model:
        return "checkpoint"
    if kind_of(shapes) is not None:
        return "lora"
    return "embedding" if _are_vectors(shapes) else None


def read_lora(file: Path, name: str) -> AdapterFile:
    """Read the metadata of a LoRA; an invalid file has a `problem`."""
    size = _size(file)
    try:
        shapes, metadata = check_lora(file)
    except OctaboxError as error:
        return AdapterFile(name, file, "lora", size=size, problem=_problem(file, error))
    weights, width = weights_of(shapes), text_width_of(shapes)
    return AdapterFile(
        name=name,
        file=file,
        kind="lora",
        network=kind_of(weights) or "",
        layout=layout_of(weights),
        base=_base_model(metadata, width),
        rank=rank_of(shapes),
        words=_trigger_words(metadata),
        widths=(width,) if width else (),
        parts=parts_of(weights),
        tensors=len(weights),
        size=size,
        thumbnail=bool(metadata.get(THUMBNAIL_KEY)),
    )


def check_lora(file: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Return the tensor shapes and the metadata of a LoRA file.

    Raises:
        ModelNotFoundError: The file does not exist.
        IncompatibleWeightsError: The file is damaged, or not a LoRA.
        RemoteCodeError: The file is a pickle that would run code.
    """
    shapes, metadata = read_tensors(file)
    if kind_of(shapes) is None:
        raise IncompatibleWeightsError(
            f"{file.name} is not a LoRA: none of its {len(shapes)} tensors has the name of a LoRA tensor.",
            hint="Choose a file of LoRA weights; a model needs its own configuration.",
        )
    return shapes, metadata


def read_embedding(file: Path, name: str) -> AdapterFile:
    """Read the metadata of an embedding, with the tokens in it as its words; an invalid file has a `problem`.

    Several tensors of the same width are for a token each, those of different widths for a text encoder each.
    """
    size = _size(file)
    try:
        shapes, _ = read_tensors(file)
    except OctaboxError as error:
        return AdapterFile(name, file, "embedding", size=size, problem=_problem(file, error))
    vectors = [shape for shape in shapes.values() if _is_vectors(shape)]
    problem = "" if _are_vectors(shapes) else "It contains tensors other than embedding vectors."
    widths = tuple(sorted({shape[-1] for shape in vectors}))
    count = max((shape[0] if len(shape) > 1 else 1 for shape in vectors), default=None)
    return AdapterFile(
        name,
        file,
        "embedding",
        base=ENCODERS.get(widths, ""),
        rank=count,
        words=tuple(shapes) if not problem and len(widths) == 1 and VECTOR_NAMES.isdisjoint(shapes) else (),
        widths=widths,
        tensors=len(shapes),
        size=size,
        problem=problem,
    )


def _are_vectors(shapes: Shapes) -> bool:
    """Return whether all tensors of a file can be vectors of an embedding, whose names are tokens and not those of layers."""
    has_layers = len(shapes) > MAX_ENCODERS and any("." in name for name in shapes)
    return bool(shapes) and not has_layers and all(_is_vectors(shape) for shape in shapes.values())


def _is_vectors(shape: tuple[int, ...]) -> bool:
    """Return whether a tensor can be one or more vectors."""
    return len(shape) in {1, 2} and 0 not in shape


def read_tensors(file: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Return the tensor shapes and the metadata of a file.

    Raises:
        ModelNotFoundError: The file does not exist.
        IncompatibleWeightsError: The file is damaged, or cannot be read.
        RemoteCodeError: The file is a pickle that would run code.
    """
    try:
        open_file(file).close()
        return read_header(file) if file.suffix.lower() == ".safetensors" else (read_pickle(file), {})
    except OSError as error:
        raise IncompatibleWeightsError(f"{file} cannot be read: {error.strerror or error}.") from error


def _problem(file: Path, error: OctaboxError) -> str:
    """Return why a file cannot be used, without its folder."""
    return error.message.replace(str(file), file.name)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _base_model(metadata: Mapping[str, str], width: int | None) -> str:
    """Return the base model of an adapter: from its metadata, or from its width."""
    stated = next((metadata[key] for key in BASE_KEYS if metadata.get(key)), "")
    return stated or (WIDTHS.get(width, "") if width else "")


def _trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the trigger words of an adapter: from its metadata, or the most frequent words of its training captions."""
    for key in TRIGGER_KEYS:
        if metadata.get(key):
            return tuple(word.strip() for word in metadata[key].strip("[]").split(",") if word.strip())
    counts: Counter[str] = Counter()
    try:
        for folder in parse_json(metadata.get("ss_tag_frequency", "{}"), MAX_HEADER_BYTES).values():
            counts.update({str(word).strip(): int(count) for word, count in folder.items()})
    except (ValueError, TypeError, AttributeError, OverflowError):
        return ()
    return tuple(word for word, _ in counts.most_common(MAX_WORDS))
