"""The weight files of a model's folder: which component each is of, its variant, and the dtypes that it stores."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Names that diffusers and transformers give weight files; a shard's number is before or after the variant.
_NAME = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)"
    r"(?:-\d+-of-\d+)?(?:\.(?P<variant>[^.]+?)(?:-\d+-of-\d+)?)?\.(?P<suffix>safetensors|bin)"
)

#: Longest header of a .safetensors file that is read, in bytes.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class WeightFile:
    """A file of weights.

    Args:
        component: Name of the component's folder; empty for a file of the folder itself.
        variant: Variant in its name, such as fp16; None where it has none.
        path: The file.
    """

    component: str
    variant: str | None
    path: Path


def weight_files(folder: Path) -> Iterator[WeightFile]:
    """Yield the weight files of a folder and of the folders directly in it."""
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if (found := _NAME.fullmatch(path.name)) and path.is_file():
            yield WeightFile("" if path.parent == folder else path.parent.name, found["variant"], path)


def only_variant(folder: Path, preferred: str | None = None) -> str | None:
    """Return the variant that a folder is to be loaded with; None where its plain files are complete.

    Args:
        folder: Folder of a model or of a component.
        preferred: Variant to take where there are files of it, though there are plain files too.
    """
    found: dict[str, set[str | None]] = {}
    for file in weight_files(folder):
        found.setdefault(file.component, set()).add(file.variant)
    if preferred and any(preferred in variants for variants in found.values()):
        return preferred
    # Only components without plain files need one; the name that serves most of them is taken.
    needed = Counter(name for variants in found.values() if None not in variants for name in variants if name)
    return max(needed, key=lambda name: (needed[name], name)) if needed else None


def stored_dtype(files: Iterator[Path] | list[Path]) -> str | None:
    """Return the dtype that most numbers of .safetensors files have, in the format's own spelling, such as ``BF16``.

    What cannot be read counts for nothing: whoever loads it says why.
    """
    numbers: Counter[str] = Counter()
    for file in files:
        if file.suffix == ".safetensors":
            numbers += _numbers(file)
    return numbers.most_common(1)[0][0] if numbers else None


def _numbers(file: Path) -> Counter[str]:
    """Return how many bytes of a .safetensors file's header are of each dtype."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length <= _LONGEST_HEADER else {}
        header.pop("__metadata__", None)
        found: Counter[str] = Counter()
        for entry in header.values():
            begin, end = entry["data_offsets"]
            found[str(entry["dtype"])] += end - begin
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Counter()
    return found
