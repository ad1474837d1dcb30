"""Read what an adapter's file says of itself, and load none of its numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.adapters.lora_networks import kind_of, layout_of, parts_of, rank_of, weights_of, words_width_of
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.checkpoints.tensors import Shapes, read_header

#: Endings of files that may hold an adapter.
SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".ckpt"})

#: Notes in which authors and trainers say what model a LoRA is for, the plainest first.
BASE_NOTES = ("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")

#: Notes in which they say by which words it is called.
WORD_NOTES = ("modelspec.trigger_phrase", "modelspec.trigger_word", "trigger_words", "ss_trigger_words")

#: What is known of the width of a UNet's text features.
WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL", 1280: "SDXL refiner"}

#: What is known of the widths of an embedding's vectors.
ENCODERS = {(768,): "Stable Diffusion 1", (1024,): "Stable Diffusion 2", (768, 1280): "Stable Diffusion XL"}

#: How many of the most frequent words of the training captions are told.
MOST_WORDS = 5


@dataclass(frozen=True)
class AdapterFile:
    """What is known of an adapter.

    Args:
        name: What a request calls it.
        file: Where it is.
        kind: What it is.
        network: Kind of network, such as LoRA or LoHa; for an embedding empty.
        layout: Whose way of naming tensors it follows.
        base: Model that it was trained for, as far as it says or can be told.
        rank: Largest rank of its matrices, or number of an embedding's vectors.
        words: Words that call it.
        widths: Width of the text features that it was trained with, or of an embedding's vectors.
        parts: Components that it changes.
        tensors: How many tensors with weights it has.
        size: Bytes of the file.
        problem: Why it cannot be used; empty where nothing is wrong.
    """

    name: str
    file: Path
    kind: Literal["lora", "embedding"]
    network: str = ""
    layout: str = ""
    base: str = ""
    rank: int | None = None
    words: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()
    tensors: int = 0
    size: int = 0
    problem: str = ""


def read_lora(file: Path, name: str) -> AdapterFile:
    """Return what is known of a LoRA; what is wrong with the file is its `problem`."""
    size = _size(file)
    try:
        shapes, notes = check_lora(file)
    except OctaboxError as error:
        return AdapterFile(name, file, "lora", size=size, problem=error.message)
    weights, width = weights_of(shapes), words_width_of(shapes)
    return AdapterFile(
        name=name,
        file=file,
        kind="lora",
        network=kind_of(weights) or "",
        layout=layout_of(weights),
        base=_base(notes, width),
        rank=rank_of(shapes),
        words=_words(notes),
        widths=(width,) if width else (),
        parts=parts_of(weights),
        tensors=len(weights),
        size=size,
    )


def check_lora(file: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Return the shapes and the notes of a file of weights that are an adapter.

    Raises:
        ModelNotFoundError: There is no such file.
        IncompatibleWeightsError: It is damaged, or its weights are no adapter.
        RemoteCodeError: It is a pickle that would run code.
    """
    shapes, notes = _read(file)
    if kind_of(shapes) is None:
        raise IncompatibleWeightsError(
            f"{file.name} is no LoRA: none of its {len(shapes)} tensors has a name that a LoRA would give it.",
            hint="Give a file of LoRA weights; a whole model belongs into a model's configuration.",
        )
    return shapes, notes


def read_embedding(file: Path, name: str) -> AdapterFile:
    """Return what is known of an embedding; what is wrong with the file is its `problem`."""
    size = _size(file)
    try:
        shapes, _ = _read(file)
    except OctaboxError as error:
        return AdapterFile(name, file, "embedding", size=size, problem=error.message)
    vectors = [shape for shape in shapes.values() if len(shape) in {1, 2} and 0 not in shape]
    problem = "" if vectors and len(vectors) == len(shapes) else "It holds other tensors than vectors of words."
    widths = tuple(sorted({shape[-1] for shape in vectors}))
    count = max((shape[0] if len(shape) > 1 else 1 for shape in vectors), default=None)
    return AdapterFile(
        name,
        file,
        "embedding",
        base=ENCODERS.get(widths, ""),
        rank=count,
        words=(name,),
        widths=widths,
        tensors=len(shapes),
        size=size,
        problem=problem,
    )


def _read(file: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Return the shapes of a file's tensors, and the notes that stand beside them."""
    try:
        return read_header(file) if file.suffix.lower() == ".safetensors" else (read_pickle(file), {})
    except OSError as error:
        raise IncompatibleWeightsError(f"{file} cannot be read: {error.strerror or error}.") from error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _base(notes: Mapping[str, str], width: int | None) -> str:
    """Return the model that an adapter was trained for: as noted, or as its width tells."""
    noted = next((notes[name] for name in BASE_NOTES if notes.get(name)), "")
    return noted or (WIDTHS.get(width, "") if width else "")


def _words(notes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words that call an adapter: as noted, or the most frequent of its training captions."""
    for name in WORD_NOTES:
        if notes.get(name):
            return tuple(word.strip() for word in notes[name].strip("[]").split(",") if word.strip())
    counted: Counter[str] = Counter()
    try:
        for folder in json.loads(notes.get("ss_tag_frequency", "{}")).values():
            counted.update({str(word).strip(): int(count) for word, count in folder.items()})
    except (ValueError, TypeError, AttributeError):
        return ()
    return tuple(word for word, _ in counted.most_common(MOST_WORDS))
