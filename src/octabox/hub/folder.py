"""Identify models without network access: Hub ids, and the index of a model folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError
from octabox.security.filesystem import read_file
from octabox.security.json_files import MAX_BYTES, parse_json, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Index files of a diffusers model, the standard one first.
INDEX_FILES = ("model_index.json", "modular_model_index.json")

#: Suffixes of files that torch pickled.
PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth"})

#: Suffixes of single-file checkpoints and components.
CHECKPOINT_SUFFIXES = frozenset({".safetensors", ".gguf", *PICKLE_SUFFIXES})

#: Suffixes of configuration files.
YAML_SUFFIXES = frozenset({".yaml", ".yml"})

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

#: Maximum length of a Hub id.
_MAX_LENGTH = 96

#: Maximum bytes of the name of a downloaded file: that of its lock is longer, and file systems allow 255.
MAX_NAME_BYTES = 200

#: Hint for an index that cannot be read.
_INCOMPLETE = "The download may be incomplete; download the model again."


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form of a Hub repository id: an owner, one slash, a name."""
    if len(text) > _MAX_LENGTH or not _HUB_ID.fullmatch(text):
        return False
    is_invalid = "--" in text or ".." in text or text.endswith((".", "-", ".git"))
    return not is_invalid and Path(text).suffix.lower() not in CHECKPOINT_SUFFIXES


def is_short_name(name: str) -> bool:
    """Return whether a text without control characters is short enough for the name of a downloaded file."""
    return name.isprintable() and len(os.fsencode(name)) <= MAX_NAME_BYTES


def index_file(folder: Path) -> Path | None:
    """Return the index file of a model folder; None if it has none."""
    return next((folder / name for name in INDEX_FILES if os.path.exists(folder / name)), None)  # noqa: PTH110 (pathlib raises without permission)


def folder_index(folder: Path) -> dict[str, Any]:
    """Read the index of a model folder.

    Raises:
        ModelNotFoundError: The folder does not exist.
        IncompatibleWeightsError: It is a file, or not a model folder.
    """
    if folder.is_file():
        hint = "Only a folder has an index; specify the pipeline of a single file."
        raise IncompatibleWeightsError(f"{folder} is a single file.", hint=hint)
    if not folder.is_dir():
        raise ModelNotFoundError(f"There is no folder {folder}.", hint="Check the path.")
    file = index_file(folder)
    if file is None:
        hint = "Choose the folder of a model in the format of diffusers."
        raise IncompatibleWeightsError(f"{folder} is not a model folder: it has no {INDEX_FILES[0]}.", hint=hint)
    return read_index(file, str(file))


def index_components(index: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Return the library and the class of each component that an index names.

    Other entries are settings of the pipeline. A component that is left out has None for both.

    Args:
        index: The content of an index file. A modular index has further values behind library and class.
    """
    return {
        name: (entry[0], entry[1])
        for name, entry in index.items()
        # A model with custom code has a file and a class under `_class_name`.
        if not name.startswith("_") and isinstance(entry, list) and len(entry) > 1 and _are_names(entry[:2])
    }


def _are_names(values: list[Any]) -> bool:
    """Return whether the first values of an entry can be a library and a class."""
    return all(value is None or isinstance(value, str) for value in values)


def read_index(file: Path, label: str) -> dict[str, Any]:
    """Read an index file and check that it names a pipeline.

    Args:
        file: The file.
        label: Name of the file in errors.

    Raises:
        IncompatibleWeightsError: The file is invalid, or names no pipeline.
    """
    try:
        return parse_index(read_file(file, MAX_BYTES + 1), label)
    except OSError as error:
        raise IncompatibleWeightsError(f"{label} cannot be read: {error.strerror}.", hint=_INCOMPLETE) from error


def parse_index(content: bytes, label: str) -> dict[str, Any]:
    """Return the content of an index file, as `read_index` does.

    Args:
        content: Its bytes.
        label: Name of the file in errors.

    Raises:
        IncompatibleWeightsError: It is invalid, or names no pipeline.
    """
    hint = _INCOMPLETE
    try:
        # The libraries read it as UTF-8, while the parser accepts other encodings.
        index = parse_json(content.decode("utf-8"))
    except ValueError as error:
        raise IncompatibleWeightsError(f"{label} is not valid JSON: {error}.", hint=hint) from error
    if not isinstance(index, dict):
        raise IncompatibleWeightsError(f"{label} must hold a JSON object, not {type(index).__name__}.", hint=hint)
    name = index.get("_class_name")
    # A model with custom code names a file and the class in it.
    parts = name if isinstance(name, list) else [name]
    if not parts or not all(isinstance(part, str) and part for part in parts):
        hint = "Set `pipeline` in the configuration of the model, or fix the file."
        raise IncompatibleWeightsError(f"{label} names no pipeline: `_class_name` is missing.", hint=hint)
    return index


def has_extra_channels(folder: Path) -> bool:
    """Return whether the UNet of a model has more input channels than its VAE has latent channels.

    Such a model was trained with a mask or an image as additional input; no other task runs on its weights.
    """
    channels = _setting(folder / "unet" / "config.json", "in_channels")
    latent_channels = _setting(folder / "vae" / "config.json", "latent_channels")
    return channels is not None and latent_channels is not None and channels > latent_channels


def _setting(file: Path, name: str) -> int | None:
    """Return an integer setting of a component configuration; None if it is missing."""
    try:
        value = read_json(file).get(name)
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, int) else None
