"""Find what is missing or damaged in the folder of a model, by the names, headers and configurations of its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.checkpoints.tensors import read_safetensors
from octabox.hub.limits import MAX_JSON_BYTES
from octabox.hub.selection import select_files
from octabox.hub.weights import weight_files
from octabox.security.json_files import MAX_BYTES, read_json

#: Prefixes of the names of tokenizers and of the text encoders that they belong to.
TOKENIZER, TEXT_ENCODER = "tokenizer", "text_encoder"

#: Setting of a denoiser for the width of the text features that its attention takes.
WIDTH = "cross_attention_dim"

#: Configuration file by the base class of a component of diffusers.
CONFIG_FILES = {"ModelMixin": "config.json", "SchedulerMixin": "scheduler_config.json"}

#: Base class of the components of diffusers that have weights.
WITH_WEIGHTS = "ModelMixin"

#: Stems of weight files by library.
STEMS = {"diffusers": ("diffusion_pytorch_model",), "transformers": ("model", "pytorch_model")}

_DOWNLOAD = "download the model again, or set a source for the component under `components`"


@dataclass(frozen=True)
class FileFault:
    """What prevents a component from being loaded.

    Args:
        component: Name of the component.
        message: What is wrong, in one sentence.
        hint: How to fix it.
    """

    component: str
    message: str
    hint: str = _DOWNLOAD


@dataclass(frozen=True)
class IndexedComponent:
    """A component in the index of a model.

    Args:
        name: Its name.
        library: Library of its class.
        cls: Its class.
        bases: The ancestors of a class of diffusers; empty for those of other libraries.
    """

    name: str
    library: str
    cls: str
    bases: Collection[str] = ()

    @property
    def config_file(self) -> str | None:
        """Name of the configuration file that its class reads; None if that is unknown."""
        return next((file for base, file in CONFIG_FILES.items() if base in self.bases), None)


def find_missing_folders(
    folder: Path, components: Iterable[IndexedComponent], optional: Collection[str]
) -> Iterator[FileFault]:
    """Yield a fault for each component that the index of a model names and that has no folder.

    Args:
        folder: Folder of the model.
        components: The components that are loaded from it.
        optional: Names of components that may be left out.
    """
    for part in components:
        if not (folder / part.name).is_dir():
            omit = f", or leave it out: components: {{{part.name}: null}}" if part.name in optional else ""
            message = f"{folder} has no folder {part.name}, which its model_index.json names."
            yield FileFault(part.name, message, f"{_DOWNLOAD}{omit}")


def find_file_faults(folder: Path, part: IndexedComponent, variant: str | None = None) -> Iterator[FileFault]:
    """Yield what is missing or damaged among the files of a component.

    Args:
        folder: Folder of the component.
        part: The component.
        variant: Variant of its weights to look for.
    """
    names = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]
    if not names:
        yield FileFault(part.name, f"{folder} is empty.")
        return
    if part.config_file and part.config_file not in names:
        yield FileFault(part.name, f"{folder} has no {part.config_file}.")
    if not _has_weights(part, names):
        return
    stems = STEMS.get(part.library, ())
    weights = [each.path for each in weight_files(folder) if each.path.parent == folder]
    if not [each for each in weights if each.name.startswith(stems)]:
        expected = " or ".join(f"{stem}.safetensors" for stem in stems)
        yield FileFault(part.name, f"{folder} has no weights: there is no {expected}.")
        return
    yield from _weight_faults(folder, part, names, variant)


def _has_weights(part: IndexedComponent, names: Collection[str]) -> bool:
    """Return whether a component has weights: a model of diffusers, or one of transformers by its files."""
    if part.library == "diffusers":
        return WITH_WEIGHTS in part.bases
    processor = any(name.endswith(("tokenizer_config.json", "processor_config.json", "vocab.json")) for name in names)
    return part.library == "transformers" and "config.json" in names and not processor


def _weight_faults(
    folder: Path, part: IndexedComponent, names: Collection[str], variant: str | None
) -> Iterator[FileFault]:
    """Yield the shards that are missing, and the files that are damaged, among the selected weights."""
    selected = [folder / name for name in select_files(sorted(names), None, variant)]
    for file in selected:
        if file.name.endswith(".json") and ".index" in file.name:
            shards = set(_mapping(_mapping(read_settings(file)).get("weight_map")).values())
            for shard in sorted(each for each in shards if not (folder / str(each)).is_file()):
                yield FileFault(part.name, f"{folder} has no {shard}, which {file.name} names.")
    for file in selected:
        if file.suffix == ".safetensors":
            try:
                read_safetensors(file)
            except (OctaboxError, OSError) as error:
                message = error.message if isinstance(error, OctaboxError) else f"{file} cannot be read: {error}."
                yield FileFault(part.name, message)


def find_width_faults(folder: Path, components: Iterable[str]) -> Iterator[FileFault]:
    """Yield the tokenizers and denoisers that do not fit the text encoders, by their configurations and headers.

    Args:
        folder: Folder of the model.
        components: Names of the components that are loaded from it.
    """
    names = list(components)
    settings = {name: read_settings(folder / name / "config.json") for name in names}
    for name in names:
        encoder = name.replace(TOKENIZER, TEXT_ENCODER)
        size = settings.get(encoder, {}).get("vocab_size") if name.startswith(TOKENIZER) else None
        if isinstance(size, int) and (words := _count_tokens(folder / name)) > size:
            yield FileFault(name, f"{name} has {words} tokens, but its text encoder has embeddings for {size}.")
    encoders = [each for name, each in settings.items() if name.startswith(TEXT_ENCODER) and each]
    for name, each in settings.items():
        if isinstance(width := each.get(WIDTH), int) and encoders:
            accepted = {shape[1] for shape in _shapes(folder / name) if len(shape) == 2}  # noqa: PLR2004 (of a linear layer)
            if not takes_width(accepted, encoders):
                found = " and ".join(str(encoder.get("hidden_size", "other")) for encoder in encoders)
                message = f"{name} takes text features of width {width}, but the text encoder returns width {found}."
                yield FileFault(name, message)


def _count_tokens(folder: Path) -> int:
    """Return the number of tokens of a tokenizer without added ones; 0 if that is unknown."""
    model = _mapping(read_settings(folder / "tokenizer.json", MAX_JSON_BYTES).get("model"))
    vocabulary = model.get("vocab") or read_settings(folder / "vocab.json", MAX_JSON_BYTES)
    return len(vocabulary) if isinstance(vocabulary, Mapping | list) else 0


def takes_width(accepted: Collection[int], encoders: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a layer of a denoiser takes the width of a text encoder, or the sum of those of several.

    Args:
        accepted: Input widths of the denoiser's linear layers.
        encoders: Settings of the text encoders; their widths are among the integers, whatever the names are.
    """
    sums = {0}
    for encoder in encoders:
        sums |= {total + each for total in sums for each in _integers(encoder)}
    return not accepted or bool(set(accepted) & sums) or sums == {0}


def _integers(settings: Mapping[str, Any]) -> Iterator[int]:
    for value in settings.values():
        for each in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(each, int) and not isinstance(each, bool):
                yield each


def _shapes(folder: Path) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of the tensors in the .safetensors files of a component."""
    for file in weight_files(folder):
        if file.path.suffix == ".safetensors" and file.path.parent == folder:
            try:
                yield from read_safetensors(file.path).values()
            except (IncompatibleWeightsError, OSError):
                continue


def read_settings(file: Path, limit: int = MAX_BYTES) -> Mapping[str, Any]:
    """Return the content of a configuration file; empty if it is missing or invalid, which loading reports.

    Args:
        file: The file.
        limit: Largest size in bytes.
    """
    try:
        return _mapping(read_json(file, limit))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
