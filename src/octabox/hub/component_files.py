"""Find what is missing or damaged in the folder of a model, by the names, headers and configurations of its files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import is_zipfile

from octabox.errors import OctaboxError, RemoteCodeError
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.checkpoints.weight_scales import find_quantization
from octabox.hub.folder import INDEX_FILES
from octabox.hub.limits import MAX_JSON_BYTES
from octabox.hub.selection import select_files
from octabox.hub.weights import weight_files
from octabox.security.filesystem import find_fault, open_file, read_file
from octabox.security.json_files import MAX_BYTES, parse_json, read_json

#: Configuration file by the base class of a component of diffusers.
CONFIG_FILES = {"ModelMixin": "config.json", "SchedulerMixin": "scheduler_config.json"}

#: Base class of the components of diffusers that have weights.
WITH_WEIGHTS = "ModelMixin"

#: Ends of the names of the JSON files that the libraries read from the folder of a component.
JSON_NAMES = ("config.json", "tokenizer.json", "vocab.json", "special_tokens_map.json", "added_tokens.json")

#: Suffixes of the other files that they read from it: weights and vocabularies.
FILE_SUFFIXES = (".safetensors", ".bin", ".model", ".txt")

#: What a component of transformers is, by its class, whose name may end with that of a backend (Fast, Pil); others are models.
_KINDS: tuple[tuple[Literal["tokenizer", "processor"], re.Pattern[str]], ...] = (
    ("tokenizer", re.compile(r"Tokenizer(Fast|sBackend)?$")),
    ("processor", re.compile(r"(Processor|Extractor)(Fast|Pil)?$")),
)

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
        runs_code: Whether loading it would run code of the model.
    """

    component: str
    message: str
    hint: str = _DOWNLOAD
    runs_code: bool = False


@dataclass(frozen=True)
class IndexedComponent:
    """A component in the index of a model.

    Args:
        name: Its name.
        package: Package of its class, which the index calls its library.
        cls: Its class.
        bases: The ancestors of a class of diffusers; empty for those of other libraries.
        index: Name of the index, for messages.
    """

    name: str
    package: str
    cls: str
    bases: Collection[str] = ()
    index: str = INDEX_FILES[0]

    @property
    def config_file(self) -> str | None:
        """Name of the configuration file that its class reads; None if that is unknown."""
        if self.package == "transformers":
            return {"model": "config.json", "processor": "preprocessor_config.json"}.get(self.kind)
        return next((file for base, file in CONFIG_FILES.items() if base in self.bases), None)

    @property
    def kind(self) -> Literal["model", "tokenizer", "processor", "scheduler", "other"]:
        """What it is."""
        if self.package == "transformers" and self.cls:
            return kind_of_class(self.cls)
        return "model" if WITH_WEIGHTS in self.bases else "scheduler" if "SchedulerMixin" in self.bases else "other"


def kind_of_class(cls: str) -> Literal["model", "tokenizer", "processor"]:
    """Return what a component is by the name of its class, if it is neither a scheduler nor a setting."""
    return next((kind for kind, name in _KINDS if name.search(cls)), "model")


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
            message = f"{folder} has no folder {part.name}, which its {part.index} names."
            yield FileFault(part.name, message, f"{_DOWNLOAD}{omit}")


def find_file_faults(
    folder: Path, part: IndexedComponent, variant: str | None = None, *, weights: bool = True
) -> Iterator[FileFault]:
    """Yield what is missing or damaged among the files of a component.

    Args:
        folder: Folder of the component.
        part: The component.
        variant: Variant of its weights to look for.
        weights: Whether its weights are loaded from the folder.
    """
    if special := list(_special_files(folder, part)):
        yield from special
        return
    names = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]
    if not names:
        yield FileFault(part.name, f"{folder} is empty.")
        return
    # Some processors have a file of another name.
    if part.config_file and not any(
        name == part.config_file or (part.kind == "processor" and name.endswith("config.json")) for name in names
    ):
        yield FileFault(part.name, f"{folder} has no {part.config_file}.")
    read = (folder / name for name in sorted(names) if "/" not in name and name.endswith(JSON_NAMES))
    faults = [FileFault(part.name, reason) for file in read if (reason := find_json_fault(file))]
    yield from faults
    # Without a class, the configuration states what the weights are.
    if not weights or not _has_weights(part, names) or (faults and not part.cls):
        return
    # Other libraries are modules of pipelines, with classes of diffusers.
    stems = STEMS.get(part.package, STEMS["diffusers"])
    files = [each.path for each in weight_files(folder) if each.path.parent == folder]
    if not [each for each in files if each.name.startswith(stems)]:
        expected = " or ".join(f"{stem}.safetensors" for stem in stems)
        yield FileFault(part.name, f"{folder} has no weights: there is no {expected}.")
        return
    yield from _weight_faults(folder, part, names, variant)


def _special_files(folder: Path, part: IndexedComponent) -> Iterator[FileFault]:
    """Yield the files that the libraries read and that cannot be read, such as a FIFO or a broken link."""
    if reason := find_fault(folder, folders=True):
        yield FileFault(part.name, f"{folder} is not a readable folder. {reason}")
        return
    is_read = (*JSON_NAMES, *FILE_SUFFIXES)
    for file in sorted(folder.iterdir()):
        if file.name.endswith(is_read) and not file.is_dir() and (reason := find_fault(file)):
            yield FileFault(part.name, f"{file} cannot be read. {reason}")


def find_json_fault(file: Path) -> str | None:
    """Return why a file does not hold a JSON object, as a sentence; None if it does.

    Of a vocabulary, which may be large, only the ends are checked.
    """
    try:
        content = read_file(file, MAX_JSON_BYTES)
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}."
    if len(content) > MAX_BYTES:
        is_object = (content.lstrip()[:1], content.rstrip()[-1:]) == (b"{", b"}")
        return None if is_object else f"{file} is not valid JSON, or truncated."
    try:
        value = parse_json(content.decode("utf-8"))
    except ValueError as error:
        return f"{file} is not valid JSON: {error}."
    return None if isinstance(value, Mapping) else f"{file} must hold a JSON object, not {type(value).__name__}."


def _has_weights(part: IndexedComponent, names: Collection[str]) -> bool:
    """Return whether a component has weights: a model of diffusers or transformers; without a class, by its files."""
    if part.cls or part.package == "diffusers":
        return part.kind == "model"
    processor = any(name.endswith(("tokenizer_config.json", "processor_config.json", "vocab.json")) for name in names)
    return part.package == "transformers" and "config.json" in names and not processor


def _weight_faults(
    folder: Path, part: IndexedComponent, names: Collection[str], variant: str | None
) -> Iterator[FileFault]:
    """Yield the shards that are missing, and the files that are damaged or have unused scales, among the selected weights."""
    selected = [folder / name for name in select_files(sorted(names), None, variant)]
    is_stated = "quantization_config" in read_settings(folder / "config.json")
    for file in selected:
        if file.name.endswith(".json") and ".index" in file.name:
            yield from _shard_faults(folder, part, file)
        elif file.suffix == ".safetensors":
            try:
                if not is_stated and (reason := find_quantization(file)):
                    yield FileFault(part.name, f"{file} {reason} that config.json does not state.")
            except (OctaboxError, OSError) as error:
                message = error.message if isinstance(error, OctaboxError) else f"{file} cannot be read: {error}."
                yield FileFault(part.name, message)
        elif file.suffix == ".bin":
            yield from _pickle_faults(part, file)


def _shard_faults(folder: Path, part: IndexedComponent, index: Path) -> Iterator[FileFault]:
    """Yield what is wrong with an index of shards, and the shards that are missing."""
    if reason := find_json_fault(index):
        yield FileFault(part.name, reason)
        return
    shards = {str(each) for each in as_mapping(read_settings(index, MAX_JSON_BYTES).get("weight_map")).values()}
    if not shards:
        yield FileFault(part.name, f"{index} lists no tensors under `weight_map`.")
    for shard in sorted(each for each in shards if not (folder / each).is_file()):
        yield FileFault(part.name, f"{folder} has no {shard}, which {index.name} names.")


def _pickle_faults(part: IndexedComponent, file: Path) -> Iterator[FileFault]:
    """Yield why a file with pickled weights is damaged, or that it would run code."""
    if reason := _find_archive_fault(file):
        yield FileFault(part.name, reason)
        return
    try:
        read_pickle(file)
    except RemoteCodeError as error:
        yield FileFault(part.name, error.message, error.hint or "", runs_code=True)
    except (OctaboxError, OSError):
        return  # The library reads more forms of pickles; loading reports what it cannot read.


def _find_archive_fault(file: Path) -> str | None:
    """Return why a file with pickled weights is damaged, as a sentence; None if its archive is complete, or it has none."""
    try:
        with open_file(file) as stream:
            start = stream.read(4)
            is_damaged = not start or (start == b"PK\x03\x04" and not is_zipfile(stream))
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}."
    return f"{file} is damaged or truncated." if is_damaged else None


def read_settings(file: Path, limit: int = MAX_BYTES) -> Mapping[str, Any]:
    """Return the content of a configuration file; empty if it is missing or invalid, which loading reports.

    Args:
        file: The file.
        limit: Largest size in bytes.
    """
    try:
        return as_mapping(read_json(file, limit))
    except (OSError, ValueError):
        return {}


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a value that is a mapping; an empty one in place of any other."""
    return value if isinstance(value, Mapping) else {}
