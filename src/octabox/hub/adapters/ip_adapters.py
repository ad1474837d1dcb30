"""Resolve the source of an IP-Adapter on this machine to its file, and check the file."""

from __future__ import annotations

from pathlib import Path

from octabox.errors import IncompatibleAdapterError, LoadError
from octabox.hub.adapters.selection import IP_ADAPTER_SUFFIXES, select_adapter
from octabox.hub.checkpoints.pickles import read_grouped_pickle
from octabox.hub.checkpoints.tensors import Shapes, read_safetensors

#: Prefixes of the tensor names of an IP-Adapter, those for FLUX.1 last.
PREFIXES = ("image_proj.", "ip_adapter.", "ip_adapter_proj_model.", "double_blocks.")

#: Part of the LoRA tensor names in a Face ID adapter, which does not take images.
FACE_ID = "_lora."


def resolve_ip_adapter_file(source: str, subfolder: str = "", name: str | None = None) -> Path:
    """Return the file of an IP-Adapter on this machine.

    Args:
        source: A file or a folder.
        subfolder: Folder of the file in the source.
        name: Name of the file; None if there is only one.

    Raises:
        LoadError: The source does not exist, or has no such file, or several.
    """
    path = Path(source)
    if path.is_file():
        return path
    if not path.is_dir():
        raise LoadError(f"There is no IP-Adapter at {source}.", hint="Set `model` to a file, a folder or a Hub id.")
    names = (each.relative_to(path).as_posix() for each in (path / subfolder).glob("*"))
    return path / select_adapter("ip_adapter", source, names, subfolder, name)


def check_ip_adapter(file: Path) -> Shapes:
    """Check an IP-Adapter file, and return its tensor shapes.

    Raises:
        IncompatibleWeightsError: The file is damaged or truncated, or would take far more memory than its size.
        RemoteCodeError: The file is a pickle that would run code.
        IncompatibleAdapterError: The file is not an IP-Adapter, or one that does not take images.
    """
    shapes = read_safetensors(file) if file.suffix.lower() == IP_ADAPTER_SUFFIXES[0] else read_grouped_pickle(file)
    if not any(name.startswith(PREFIXES) for name in shapes):
        raise IncompatibleAdapterError(f"{file} is not an IP-Adapter.", hint="Its tensors have other names.")
    if any(FACE_ID in name for name in shapes):
        raise IncompatibleAdapterError(
            f"{file} is a Face ID adapter, which does not take images.",
            hint="Choose an IP-Adapter that was trained for images.",
        )
    return shapes
