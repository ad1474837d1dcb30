"""Resolve the source of a LoRA to a file: a file, a folder, or a Hub repository, which is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from huggingface_hub import constants as hub
from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download

from octabox.errors import AdapterNotFoundError, OctaboxError
from octabox.hub.adapters.registry import FOLDER_FILES
from octabox.hub.folder import is_hub_id
from octabox.hub.hub_errors import hub_error
from octabox.hub.hub_messages import HUB_ERRORS

#: Suffix of the files that are used from folders and repositories.
_SUFFIX = ".safetensors"


def resolve_lora_file(source: str) -> Path:
    """Return the file of a LoRA.

    Args:
        source: A file, a folder or a Hub id.

    Raises:
        AdapterNotFoundError: The source has no such file, or several.
        LoadError: The download failed.
    """
    path = Path(source)
    if path.is_dir():
        return path / _select_name(source, (each.relative_to(path).as_posix() for each in path.glob(f"*{_SUFFIX}")))
    if path.exists() or not is_hub_id(source):
        if not path.is_file():
            hint = "Set it to a file, a folder or a Hub id."
            raise AdapterNotFoundError(f"The LoRA {source} is missing.", hint=hint, parameter="adapters")
        return path
    try:
        if hub.HF_HUB_OFFLINE:
            return resolve_lora_file(snapshot_download(source, allow_patterns=[f"*{_SUFFIX}"]))
        return Path(hf_hub_download(source, _select_name(source, list_repo_files(source))))
    except OctaboxError:
        raise
    except HUB_ERRORS as error:
        raise hub_error(error, source) from error


def _select_name(source: str, names: Iterable[str]) -> str:
    """Return the name of the file that holds the LoRA."""
    files = sorted(name for name in names if name.endswith(_SUFFIX) and "/" not in name)
    standard = [name for name in files if PurePosixPath(name).stem in FOLDER_FILES]
    if len(standard or files) == 1:
        return (standard or files)[0]
    found = f"has several files: {', '.join(files)}" if files else f"has no {_SUFFIX} file"
    hint = "Put the one file into the folder of LoRAs." if files else "Choose another LoRA."
    raise AdapterNotFoundError(f"The LoRA {source} {found}.", hint=hint, parameter="adapters", choices=files)
