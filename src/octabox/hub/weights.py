"""Weight files of a model folder: their components, variants and dtypes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

#: Weight file names of diffusers and transformers; the shard number is before or after the variant.
_NAME = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:-\d+-of-\d+)?(?:\.(?P<variant>[^.]+?)(?:-\d+-of-\d+)?)?\.(?P<suffix>safetensors|bin)"
)


@dataclass(frozen=True)
class WeightFile:
    """A weight file.

    Args:
        component: Folder name of the component; empty for a file at the top level.
        variant: Variant in its name, such as fp16; None without one.
        path: Its path.
    """

    component: str
    variant: str | None
    path: Path


def weight_files(folder: Path) -> Iterator[WeightFile]:
    """Yield the weight files in a folder and its subfolders."""
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if (found := _NAME.fullmatch(path.name)) and path.is_file():
            yield WeightFile("" if path.parent == folder else path.parent.name, found["variant"], path)


def only_variant(folder: Path, preferred: str | None = None) -> str | None:
    """Return the variant to load from a folder; None if the files without a variant are complete.

    Args:
        folder: Folder of a model or of a component.
        preferred: Variant to select if it has any files.
    """
    found: dict[str, set[str | None]] = {}
    for file in weight_files(folder):
        found.setdefault(file.component, set()).add(file.variant)
    if preferred and any(preferred in variants for variants in found.values()):
        return preferred
    # Only components without such files need a variant; the most common one is selected.
    needed = Counter(name for variants in found.values() if None not in variants for name in variants if name)
    return max(needed, key=lambda name: (needed[name], name)) if needed else None


def stored_dtype(files: Iterator[Path] | list[Path]) -> str | None:
    """Return the dtype of most weights in .safetensors files, in the spelling of the format, such as ``BF16``.

    Files that cannot be read are skipped; loading reports them.
    """
    counts: Counter[str] = Counter()
    for file in files:
        if file.suffix == ".safetensors":
            with suppress(OSError):
                counts += file_elements(file)
    return counts.most_common(1)[0][0] if counts else None


def component_elements(folder: Path, variant: str | None = None) -> dict[str, Counter[str]]:
    """Return the number of weights of each component of a folder, by dtype; those at the top level have an empty name.

    Of several copies of a component's weights one is counted: that of the variant, and .safetensors files first.

    Args:
        folder: Folder of a model or of a component.
        variant: Variant to select if it has any files.
    """
    copies: dict[str, dict[tuple[bool, bool, str], list[Path]]] = {}
    for file in weight_files(folder):
        key = (file.path.suffix != ".safetensors", file.variant != variant, file.variant or "")
        copies.setdefault(file.component, {}).setdefault(key, []).append(file.path)
    return {
        component: sum((file_elements(path) for path in found[min(found)]), Counter())
        for component, found in copies.items()
    }


def file_elements(file: Path) -> Counter[str]:
    """Return the number of weights in a file by dtype; packed weights are counted in bytes, as ``U8``.

    Pickles are not read: their weights are taken for half-precision ones where the name contains 16, else for float32.
    """
    size = file.stat().st_size
    if file.suffix == ".safetensors":
        return _dtype_counts(file, size, file.stat().st_mtime_ns)
    if file.suffix == ".gguf":
        return Counter(U8=size)
    half = "16" in file.name
    return Counter({"F16" if half else "F32": size // (2 if half else 4)})


def is_float(dtype: str) -> bool:
    """Return whether tensors of a dtype, in the spelling of .safetensors files, are loaded in the dtype of the model."""
    return dtype.lstrip("B").startswith("F")


@lru_cache(256)
def _dtype_counts(file: Path, _size: int = 0, _modified: int = 0) -> Counter[str]:
    """Return the number of weights of each dtype in a .safetensors file."""
    found: Counter[str] = Counter()
    try:
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 (a method)
                tensor = opened.get_slice(name)
                found[tensor.get_dtype()] += math.prod(tensor.get_shape())
    except (OSError, SafetensorError):
        return Counter()
    return found
