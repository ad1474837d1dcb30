"""Resolve the source of an IP-Adapter to a file (a file, a folder, or a Hub repository), and check the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from huggingface_hub import constants as hub
from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download

from octabox.errors import IncompatibleAdapterError, LoadError, OctaboxError
from octabox.hub.checkpoints.pickles import read_grouped_pickle
from octabox.hub.checkpoints.tensors import Shapes, read_safetensors
from octabox.hub.folder import is_hub_id
from octabox.hub.hub_errors import hub_error
from octabox.hub.hub_messages import HUB_ERRORS

#: Suffixes of IP-Adapter files that diffusers reads, safetensors first.
SUFFIXES = (".safetensors", ".bin")

#: Prefixes of the tensor names of an IP-Adapter, those for FLUX.1 last.
PREFIXES = ("image_proj.", "ip_adapter.", "ip_adapter_proj_model.", "double_blocks.")

#: Part of the LoRA tensor names in a Face ID adapter, which does not take images.
FACE_ID = "_lora."


def resolve_ip_adapter_file(source: str, subfolder: str = "", name: str | None = None) -> Path:
    """Return the file of an IP-Adapter.

    Args:
        source: A file, a folder or a Hub id.
        subfolder: Folder of the file in the source.
        name: Name of the file; None if there is only one.

    Raises:
        LoadError: The source has no such file or several, or the download failed.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        folder = path / subfolder
        file = folder / (name or _select_name(source, (each.name for each in folder.glob("*"))))
        if not file.is_file():
            hint = "Check `model`, `subfolder` and `weight_name` under `ip_adapters`."
            raise LoadError(f"There is no IP-Adapter {file}.", hint=hint)
        return file
    if not is_hub_id(source):
        raise LoadError(f"There is no IP-Adapter at {source}.", hint="Set `model` to a file, a folder or a Hub id.")
    try:
        if hub.HF_HUB_OFFLINE:
            return resolve_ip_adapter_file(snapshot_download(source), subfolder, name)
        return Path(hf_hub_download(source, name or _repository_file(source, subfolder), subfolder=subfolder or None))
    except OctaboxError:
        raise
    except HUB_ERRORS as error:
        raise hub_error(error, source) from error


def check_ip_adapter(file: Path) -> Shapes:
    """Check an IP-Adapter file, and return its tensor shapes.

    Raises:
        IncompatibleWeightsError: The file is damaged or truncated, or would take far more memory than its size.
        RemoteCodeError: The file is a pickle that would run code.
        IncompatibleAdapterError: The file is not an IP-Adapter, or one that does not take images.
    """
    shapes = read_safetensors(file) if file.suffix.lower() == SUFFIXES[0] else read_grouped_pickle(file)
    if not any(name.startswith(PREFIXES) for name in shapes):
        raise IncompatibleAdapterError(f"{file} is not an IP-Adapter.", hint="Its tensors have other names.")
    if any(FACE_ID in name for name in shapes):
        raise IncompatibleAdapterError(
            f"{file} is a Face ID adapter, which does not take images.",
            hint="Choose an IP-Adapter that was trained for images.",
        )
    return shapes


def _repository_file(source: str, subfolder: str) -> str:
    """Return the name of the IP-Adapter file in a folder of a repository."""
    names = (PurePosixPath(name) for name in list_repo_files(source))
    return _select_name(source, (name.name for name in names if name.parent == PurePosixPath(subfolder)))


def _select_name(source: str, names: Iterable[str]) -> str:
    """Return the name of the file that holds the IP-Adapter."""
    files = sorted(name for name in names if name.endswith(SUFFIXES))
    safe = [name for name in files if name.endswith(SUFFIXES[0])]
    if len(safe or files) == 1:
        return (safe or files)[0]
    found = f"has several files: {', '.join(files)}" if files else "has no weights file there"
    hint = "Set `weight_name` to one of them." if files else "Set `subfolder` to its folder."
    raise LoadError(f"The IP-Adapter {source} {found}.", hint=hint, choices=files)
