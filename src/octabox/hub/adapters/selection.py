"""Select the file of a LoRA or an IP-Adapter among the files of a folder or a repository."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal

from octabox.errors import AdapterNotFoundError, LoadError
from octabox.hub.adapters.registry import FOLDER_FILES

#: Adapters of which one file is used.
AdapterKind = Literal["lora", "ip_adapter"]

#: Suffix of the LoRA files that are used from folders and repositories.
LORA_SUFFIX = ".safetensors"

#: Suffixes of IP-Adapter files that diffusers reads, safetensors first.
IP_ADAPTER_SUFFIXES = (".safetensors", ".bin")


def select_adapter(
    kind: AdapterKind, source: str, names: Iterable[str], subfolder: str = "", file: str | None = None
) -> str:
    """Return the name of the file that holds an adapter.

    Args:
        kind: What it is.
        source: The folder or repository, for errors.
        names: All files, relative to the source.
        subfolder: Folder of the file in the source.
        file: Name of the file; None if there is only one.

    Raises:
        AdapterNotFoundError: There is no such file of a LoRA, or several.
        LoadError: The same of an IP-Adapter.
    """
    inner = [path.name for path in map(PurePosixPath, names) if path.parent == PurePosixPath(subfolder)]
    if file is not None:
        if file not in inner:
            raise _missing(kind, source, (PurePosixPath(subfolder) / file).as_posix(), inner)
        name = file
    else:
        name = _only_lora(source, inner) if kind == "lora" else _only_ip_adapter(source, inner)
    return (PurePosixPath(subfolder) / name).as_posix()


def _missing(kind: AdapterKind, source: str, name: str, names: list[str]) -> AdapterNotFoundError | LoadError:
    if kind == "lora":
        hint = f"It has: {', '.join(sorted(names)[:5])}." if names else "Choose another LoRA."
        return AdapterNotFoundError(f"The LoRA {source} has no file {name}.", hint=hint, parameter="adapters")
    hint = "Check `model`, `subfolder` and `weight_name` under `ip_adapters`."
    return LoadError(f"There is no IP-Adapter {name} in {source}.", hint=hint)


def _only_lora(source: str, names: list[str]) -> str:
    """Return the only LoRA file, or the one with the name that diffusers or PEFT gives to it."""
    files = sorted(name for name in names if name.endswith(LORA_SUFFIX))
    standard = [name for name in files if PurePosixPath(name).stem in FOLDER_FILES]
    if len(standard or files) == 1:
        return (standard or files)[0]
    found = f"has several files: {', '.join(files)}" if files else f"has no {LORA_SUFFIX} file"
    hint = "Put the one file into the folder of LoRAs." if files else "Choose another LoRA."
    raise AdapterNotFoundError(f"The LoRA {source} {found}.", hint=hint, parameter="adapters", choices=files)


def _only_ip_adapter(source: str, names: list[str]) -> str:
    """Return the only IP-Adapter file, in the safe format if it is in both."""
    files = sorted(name for name in names if name.endswith(IP_ADAPTER_SUFFIXES))
    safe = [name for name in files if name.endswith(IP_ADAPTER_SUFFIXES[0])]
    if len(safe or files) == 1:
        return (safe or files)[0]
    found = f"has several files: {', '.join(files)}" if files else "has no weights file there"
    hint = "Set `weight_name` to one of them." if files else "Set `subfolder` to its folder."
    raise LoadError(f"The IP-Adapter {source} {found}.", hint=hint, choices=files)
