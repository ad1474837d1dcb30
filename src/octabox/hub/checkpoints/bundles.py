"""Write the component configurations of a model family, as diffusers reads them, from the bundled data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from octabox.security.temporary_folder import TemporaryFolder

#: Folder of the data.
_DATA = files("octabox.hub.checkpoints")

#: Start and end tokens of CLIP, which are the last ones of the vocabulary.
_ENDS = ("<|startoftext|>", "<|endoftext|>")


@cache
def _bundles() -> Mapping[str, Any]:
    data = yaml.safe_load((_DATA / "bundles.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)  # noqa: S101 (bundled data)
    return data


def bundle_names() -> tuple[str, ...]:
    """Return the names of all bundles."""
    return tuple(_bundles()["bundles"])


def missing_components(name: str) -> tuple[str, ...]:
    """Return the components of a bundle whose files cannot be bundled."""
    return tuple(part for part, entry in _parts(name).items() if entry.get("kept_out"))


def component_libraries(name: str) -> dict[str, str]:
    """Return the library of the class of each component of a bundle, such as ``transformers``."""
    return {part: library for part, (library, _) in component_classes(name).items()}


def component_classes(name: str) -> dict[str, tuple[str, str]]:
    """Return the library and the class of each component of a bundle."""
    return {part: (entry["class"][0], entry["class"][1]) for part, entry in _parts(name).items()}


def scheduler_config(name: str) -> dict[str, Any] | None:
    """Return the configuration of the scheduler of a bundle, with its class; None if it has no scheduler."""
    entry = _parts(name).get("scheduler")
    if entry is None:
        return None
    return {"_class_name": entry["class"][1], **next(iter(entry.get("files", {}).values()), {})}


def component_config(name: str, part: str) -> dict[str, Any] | None:
    """Return the ``config.json`` of a component of a bundle; None if it has no such component, or that has none."""
    found: dict[str, Any] | None = _parts(name).get(part, {}).get("files", {}).get("config.json")
    return found


@contextmanager
def bundle_folder(name: str, pipeline: str) -> Iterator[Path]:
    """Yield a temporary folder with the index of a pipeline and the configurations of its components.

    Args:
        name: Name of the bundle.
        pipeline: Pipeline class for the index.
    """
    parts = _parts(name)
    bundle = _bundles()["bundles"][name]
    index = {"_class_name": pipeline, **bundle.get("settings", {})}
    index |= {part: entry["class"] for part, entry in parts.items()}
    index |= {part: [None, None] for part in bundle.get("without", ())}
    with TemporaryFolder() as path:
        _write(path / "model_index.json", index)
        for part, entry in parts.items():
            (path / part).mkdir()
            for file, content in entry.get("files", {}).items():
                class_name = {"_class_name": entry["class"][1]} if entry["class"][0] == "diffusers" else {}
                _write(path / part / file, class_name | content)
            if entry.get("tokenizer") == "clip":
                _write_clip_tokenizer(path / part)
        yield path


def _parts(name: str) -> dict[str, Any]:
    """Return the components of a bundle by their names in the pipeline."""
    data = _bundles()
    return {part: data["components"][entry] for part, entry in data["bundles"][name]["parts"].items()}


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _write_clip_tokenizer(path: Path) -> None:
    """Write the merges of CLIP and the vocabulary that follows from them."""
    merges, vocabulary = _tokenizer_files()
    (path / "merges.txt").write_bytes(merges)
    (path / "vocab.json").write_bytes(vocabulary)


@cache
def _tokenizer_files() -> tuple[bytes, bytes]:
    """Return the contents of the merges and the vocabulary of CLIP, 1.6 MB; some models have two such tokenizers."""
    merges = gzip.decompress((_DATA / "clip" / "merges.txt.gz").read_bytes())
    characters = _byte_characters()
    joined = [line.replace(" ", "") for line in merges.decode().splitlines()[1:]]
    tokens = [*characters, *(f"{each}</w>" for each in characters), *joined, *_ENDS]
    vocabulary = json.dumps({token: number for number, token in enumerate(tokens)}, ensure_ascii=False)
    return merges, vocabulary.encode()


def _byte_characters() -> list[str]:
    """Return the printable character for each byte: itself if printable, otherwise one beyond the first 256."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + other))]
