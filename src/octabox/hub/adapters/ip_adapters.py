"""The one file of an IP-Adapter, and what it holds: a file as it is, that of a folder, or one on the Hub, which is fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from huggingface_hub import constants as hub
from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download

from octabox.errors import IncompatibleAdapterError, LoadError, OctaboxError
from octabox.hub.checkpoints.tensors import Shapes, read_safetensors
from octabox.hub.folder import is_hub_id
from octabox.hub.repository import hub_error

#: Endings of files that diffusers reads as IP-Adapters, the first in safetensors' own format.
SUFFIXES = (".safetensors", ".bin")

#: What the names of an IP-Adapter's tensors begin with, as it is published by most and for FLUX.1.
BEGINNINGS = ("image_proj.", "ip_adapter.", "ip_adapter_proj_model.", "double_blocks.")

#: What is in the name of a LoRA's tensor in an IP-Adapter for faces, which takes no images.
FACES = "_lora."


def resolve_ip_adapter_file(source: str, subfolder: str = "", name: str | None = None) -> Path:
    """Return the file of an IP-Adapter.

    Args:
        source: A file, a folder or a Hub id.
        subfolder: Folder of the file inside that source.
        name: Name of the file; None where there is one alone.

    Raises:
        LoadError: There is nothing there, more than one file that it could be, or the Hub does not give it.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        folder = path / subfolder
        file = folder / (name or _chosen(source, (each.name for each in folder.glob("*"))))
        if not file.is_file():
            hint = "Check `model`, `subfolder` and `weight_name` under `ip_adapters`."
            raise LoadError(f"There is no IP-Adapter {file}.", hint=hint)
        return file
    if not is_hub_id(source):
        raise LoadError(f"There is no IP-Adapter at {source}.", hint="Give a file, a folder or a Hub id.")
    try:
        if hub.HF_HUB_OFFLINE:
            return resolve_ip_adapter_file(snapshot_download(source), subfolder, name)
        return Path(hf_hub_download(source, name or _listed(source, subfolder), subfolder=subfolder or None))
    except OctaboxError:
        raise
    except (OSError, ValueError) as error:
        raise hub_error(error, source) from error


def check_ip_adapter(file: Path) -> Shapes:
    """Return the shapes of an IP-Adapter's tensors; none for a pickle, which only loading tells.

    Raises:
        IncompatibleWeightsError: The file is damaged, cut short or none.
        IncompatibleAdapterError: It is no IP-Adapter, or one that takes no images.
    """
    if file.suffix.lower() != SUFFIXES[0]:
        return {}
    shapes = read_safetensors(file)
    if not any(name.startswith(BEGINNINGS) for name in shapes):
        raise IncompatibleAdapterError(f"{file} is no IP-Adapter.", hint="Its tensors have other names.")
    if any(FACES in name for name in shapes):
        raise IncompatibleAdapterError(
            f"{file} is an IP-Adapter of the kind Face ID, which takes no images.",
            hint="Give one that was trained for images.",
        )
    return shapes


def _listed(source: str, subfolder: str) -> str:
    """Return the name of the file in a folder of a repository."""
    names = (PurePosixPath(name) for name in list_repo_files(source))
    return _chosen(source, (name.name for name in names if name.parent == PurePosixPath(subfolder)))


def _chosen(source: str, names: Iterable[str]) -> str:
    """Return the name of the file that holds the IP-Adapter."""
    files = sorted(name for name in names if name.endswith(SUFFIXES))
    safe = [name for name in files if name.endswith(SUFFIXES[0])]
    if len(safe or files) == 1:
        return (safe or files)[0]
    found = f"has several files: {', '.join(files)}" if files else "has no file of weights there"
    hint = "Set `weight_name` to the one that is meant." if files else "Set `subfolder` to its folder."
    raise LoadError(f"The IP-Adapter {source} {found}.", hint=hint, choices=files)
