"""Find classes of transformers, and the vocabulary files of its tokenizers, in its source; nothing of it is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from octabox.hub.component_files import IndexedComponent

#: Prefixes of the files with the classes of a kind of component; another kind may be in any of these.
_PREFIXES = {
    "tokenizer": ("tokenization_",),
    "processor": ("image_processing_", "processing_", "feature_extraction_", "video_processing_"),
    "model": ("modeling_",),
}

#: Files with further names of classes, as strings: exported, automatic and outdated ones. Those of diffusers replace names too.
_NAMES = {
    "transformers": ("__init__.py", "convert_slow_tokenizer.py", "models/auto/*.py"),
    "diffusers": ("utils/deprecation_utils.py",),
}

#: Names of classes that only the version without compiled tokenizers or image processors had.
_OLD_SUFFIX = "Fast"


def is_known_class(part: IndexedComponent) -> bool:
    """Return whether transformers has the class of a component; True if transformers is not installed."""
    names = {part.cls, part.cls.removesuffix(_OLD_SUFFIX)} - {""}
    if not _folder("transformers").is_dir():
        return True
    return any(f'"{name}"' in _other_names() or _find_file(name, part.kind) is not None for name in names)


def vocabulary_files(cls: str) -> Mapping[str, str]:
    """Return the names of the files that a tokenizer is read from, by the argument of its constructor.

    Empty if it needs none, or if its source does not state them.
    """
    names = (cls, cls.removesuffix(_OLD_SUFFIX))
    file = next((file for name in names if (file := _find_file(name, "tokenizer")) is not None), None)
    return {} if file is None else _vocabulary_names(file)


@cache
def _vocabulary_names(file: Path) -> Mapping[str, str]:
    """Return the value of ``VOCAB_FILES_NAMES`` in a module."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VOCAB_FILES_NAMES":
            try:
                found = ast.literal_eval(node.value)
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


@cache
def _find_file(name: str, kind: str) -> Path | None:
    """Return the file that defines a class; those in the folder of its name are read first."""
    pattern = re.compile(rb"^class " + re.escape(name.encode()) + rb"\b", re.MULTILINE)
    return next((file for file in _source_files(name, kind) if pattern.search(file.read_bytes())), None)


def _source_files(name: str, kind: str) -> Iterator[Path]:
    """Yield the files that may define a class, the likely ones first."""
    lowered = name.lower()

    def is_other(folder: Path) -> tuple[bool, str]:
        return not lowered.startswith(folder.name.replace("_", "")), folder.name

    for folder in sorted(_folder("transformers").glob("models/*/"), key=is_other):
        for prefix in _PREFIXES.get(kind) or [each for prefixes in _PREFIXES.values() for each in prefixes]:
            yield from sorted(folder.glob(f"{prefix}*.py"))


@cache
def _other_names() -> str:
    """Return the source of the files with further names."""
    return "".join(
        file.read_text("utf-8")
        for package, patterns in _NAMES.items()
        for pattern in patterns
        for file in sorted(_folder(package).glob(pattern))
    )


@cache
def _folder(package: str) -> Path:
    """Return the folder of a package; one that does not exist if it is not installed."""
    spec = find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path("/nothing")
