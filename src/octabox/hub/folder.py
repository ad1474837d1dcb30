"""What can be told of a model without the network: whether a word is a Hub id, and what a folder says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError

#: Files by which a folder or a repository is a model of diffusers, the usual one first.
INDEX_FILES = ("model_index.json", "modular_model_index.json")

#: Endings of files that torch pickled.
PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth"})

#: Endings of files that hold a whole model, or one component of it.
CHECKPOINT_SUFFIXES = frozenset({".safetensors", ".gguf", *PICKLE_SUFFIXES})

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

#: Longest Hub id there is.
_LONGEST = 96


def is_hub_id(text: str) -> bool:
    """Tell whether a text has the form of a repository's name on the Hub: an owner, one slash, a name."""
    if len(text) > _LONGEST or not _HUB_ID.fullmatch(text):
        return False
    odd = "--" in text or ".." in text or text.endswith((".", "-", ".git"))
    return not odd and Path(text).suffix.lower() not in CHECKPOINT_SUFFIXES


def index_file(folder: Path) -> Path | None:
    """Return the file by which this folder is a model; None where it is none."""
    return next((folder / name for name in INDEX_FILES if (folder / name).is_file()), None)


def folder_index(folder: Path) -> dict[str, Any]:
    """Read what a model's folder says of itself.

    Raises:
        ModelNotFoundError: There is no such folder.
        IncompatibleWeightsError: It is a file, or a folder that is no model.
    """
    if folder.is_file():
        hint = "Only a folder has an index; a checkpoint's class is told from its tensors."
        raise IncompatibleWeightsError(f"{folder} is a single file.", hint=hint)
    if not folder.is_dir():
        raise ModelNotFoundError(f"There is no folder {folder}.", hint="Check the path.")
    file = index_file(folder)
    if file is None:
        hint = "Choose the folder that holds the model as diffusers saved it."
        raise IncompatibleWeightsError(f"{folder} is no model: it has no {INDEX_FILES[0]}.", hint=hint)
    return read_index(file, str(file))


def read_index(file: Path, shown: str) -> dict[str, Any]:
    """Read an index and make sure that it names a pipeline.

    Args:
        file: The file.
        shown: How errors are to call it.

    Raises:
        IncompatibleWeightsError: It is broken, or names no pipeline.
    """
    hint = "The download may have been cut short: fetch the model again."
    try:
        index = json.loads(file.read_bytes())
    except OSError as error:
        raise IncompatibleWeightsError(f"{shown} cannot be read: {error.strerror}.", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise IncompatibleWeightsError(f"{shown} is not valid JSON: {error}.", hint=hint) from error
    if not isinstance(index, dict):
        raise IncompatibleWeightsError(f"{shown} must hold a JSON object, not {type(index).__name__}.", hint=hint)
    name = index.get("_class_name")
    # A model that brings its own code names a file and the class in it.
    named = name if isinstance(name, list) else [name]
    if not named or not all(isinstance(part, str) and part for part in named):
        hint = "Give `pipeline` in the model's configuration, or mend the file."
        raise IncompatibleWeightsError(f"{shown} names no pipeline: `_class_name` is missing.", hint=hint)
    return index


def has_extra_channels(folder: Path) -> bool:
    """Tell whether a model's UNet was made for more than noise: it has more channels in than the latents of its VAE.

    That is so of those that are trained with a mask or an image beside the noise; no other task runs on their weights.
    """
    taken = _setting(folder / "unet" / "config.json", "in_channels")
    latent = _setting(folder / "vae" / "config.json", "latent_channels")
    return taken is not None and latent is not None and taken > latent


def _setting(file: Path, name: str) -> int | None:
    """Return a number that a component's configuration holds; None where there is none."""
    try:
        value = json.loads(file.read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None
    return value if isinstance(value, int) else None
