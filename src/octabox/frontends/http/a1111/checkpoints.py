"""The models by the names that the web UI has for checkpoints: a title with a hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from octabox.errors import ModelNotFoundError
from octabox.service.protocols import Models
from octabox.service.selection.models import first_model_for
from octabox.types import ModelInfo

#: Number of digits of a hash in a title.
HASH_DIGITS = 10

#: Values of fields for the model of the request.
SAME_MODEL = frozenset({"", "none", "use same checkpoint", "same"})

_HASH = re.compile(r"\[[0-9a-f]{6,64}\]\s*$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(safetensors|ckpt|pt|pth|gguf)$", re.IGNORECASE)


def identity(info: ModelInfo) -> str:
    """Return the hash of a model: of its name and source, and of the size and time of its file or index.

    The weights are not read, which may have many gigabytes.
    """
    digest = hashlib.sha256(f"{info.name}\0{info.source}\0{info.pipeline}".encode())
    source = Path(info.source)
    for file in (source, source / "model_index.json"):
        if file.is_file():
            stat = file.stat()
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def title(info: ModelInfo) -> str:
    """Return the title of a model."""
    return f"{info.name} [{identity(info)[:HASH_DIGITS]}]"


def list_checkpoints(models: Models) -> list[ModelInfo]:
    """Return the models that make images, and those whose class is not known before their download."""
    pipelines = models.catalog.pipelines
    found = []
    for info in models.list():
        entry = pipelines.get(info.pipeline or "")
        if entry is None or entry.output_kind == "image":
            found.append(info)
    return found


def checkpoint_to_json(info: ModelInfo) -> dict[str, Any]:
    """Return a model as an item of the list."""
    return {
        "title": title(info),
        "model_name": info.name,
        "hash": identity(info)[:HASH_DIGITS],
        "sha256": None,
        "filename": info.source,
        "config": None,
        "pipeline": info.pipeline,
        "tasks": list(info.tasks),
    }


def find_checkpoint(models: Models, name: str | None, field: str = "sd_model_checkpoint") -> str:
    """Return the name of a model by its title, its name, its hash or its file; the first that makes images without one.

    Args:
        models: The models of this server.
        name: What the client calls it.
        field: The client's field for it, for the error.

    Raises:
        ModelNotFoundError: There is no such model.
    """
    if not name or not name.strip():
        return first_model_for(models, "image", "text-to-image")
    text = name.strip()
    try:
        return models.get(text).name
    except ModelNotFoundError as error:
        missing = error
    bare = _HASH.sub("", text).rstrip()
    for info in models.list():
        names = {info.name, _SUFFIX.sub("", info.name), Path(info.source).name, Path(info.source).stem}
        hashes = (identity(info)[:HASH_DIGITS], identity(info))
        if {bare.casefold(), _SUFFIX.sub("", bare).casefold()} & {each.casefold() for each in names} or text in hashes:
            return info.name
    missing.parameter = field
    raise missing


def find_other(models: Models, name: str | None, field: str) -> str | None:
    """Return the name of another model; None if the field names none or that of the request."""
    return find_checkpoint(models, name, field) if is_other(name) else None


def is_other(name: str | None) -> bool:
    """Return whether a field names a model, and not that of the request."""
    return name is not None and name.strip().casefold() not in SAME_MODEL
