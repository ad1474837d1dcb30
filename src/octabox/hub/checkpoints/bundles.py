"""Folders that say how the components of a family are built, as diffusers reads them, made from what we ship."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

#: Where the data lie.
_DATA = files("octabox.hub.checkpoints")

#: Tokens of CLIP that begin and end a text; they come after all others.
_ENDS = ("<|startoftext|>", "<|endoftext|>")


@cache
def _bundles() -> Mapping[str, Any]:
    data = yaml.safe_load((_DATA / "bundles.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)  # noqa: S101 (it is ours)
    return data


def bundle_names() -> tuple[str, ...]:
    """Return the names of all bundles."""
    return tuple(_bundles()["bundles"])


def missing_components(name: str) -> tuple[str, ...]:
    """Return the components of a bundle that need files which cannot be shipped."""
    return tuple(part for part, entry in _parts(name).items() if entry.get("kept_out"))


def scheduler_config(name: str) -> dict[str, Any] | None:
    """Return the configuration of a bundle's noise scheduler, its class among it; None where it has none."""
    entry = _parts(name).get("scheduler")
    if entry is None:
        return None
    return {"_class_name": entry["class"][1], **next(iter(entry.get("files", {}).values()), {})}


@contextmanager
def bundle_folder(name: str, pipeline: str) -> Iterator[Path]:
    """Yield a folder with a pipeline's index and its components' configurations; it is gone afterwards.

    Args:
        name: The bundle.
        pipeline: Class that its index names.
    """
    parts = _parts(name)
    bundle = _bundles()["bundles"][name]
    index = {"_class_name": pipeline, **bundle.get("settings", {})}
    index |= {part: entry["class"] for part, entry in parts.items()}
    index |= {part: [None, None] for part in bundle.get("without", ())}
    with TemporaryDirectory(prefix="octabox-") as made:
        place = Path(made)
        _write(place / "model_index.json", index)
        for part, entry in parts.items():
            (place / part).mkdir()
            for file, content in entry.get("files", {}).items():
                own = {"_class_name": entry["class"][1]} if entry["class"][0] == "diffusers" else {}
                _write(place / part / file, own | content)
            if entry.get("tokenizer") == "clip":
                _write_clip(place / part)
        yield place


def _parts(name: str) -> dict[str, Any]:
    """Return the components of a bundle by the names that the pipeline calls them by."""
    data = _bundles()
    return {part: data["components"][entry] for part, entry in data["bundles"][name]["parts"].items()}


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _write_clip(place: Path) -> None:
    """Write CLIP's vocabulary: its merges, and what follows from them."""
    merges = gzip.decompress((_DATA / "clip" / "merges.txt.gz").read_bytes()).decode()
    (place / "merges.txt").write_text(merges, encoding="utf-8")
    letters = _letters()
    joined = [line.replace(" ", "") for line in merges.splitlines()[1:]]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *joined, *_ENDS]
    _write(place / "vocab.json", {token: number for number, token in enumerate(tokens)})


def _letters() -> list[str]:
    """Return the visible letter that stands for each byte: itself where it can be seen, else one from beyond the first 256."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = 256 - len(seen)
    return [chr(code) for code in (*seen, *range(256, 256 + unseen))]
