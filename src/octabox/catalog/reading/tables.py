"""Read diffusers' own tables of siblings, and its classes that choose a pipeline for a task."""

from __future__ import annotations

import ast
import re

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.tasks import tag_of

#: A table of the class by family, for one task; those for decoders hold another kind of weights.
TABLE = re.compile(r"^_?AUTO_(?P<task>\w+?)(?P<decoder>_DECODER)?_PIPELINES_MAPPING$")

#: A class that chooses a pipeline for a task.
AUTOMATIC = re.compile(r"^AutoPipelineFor(?P<task>\w+)$")


def read_automatic(tree: SourceTree) -> dict[str, str]:
    """Return the class that chooses a pipeline, by the Hub's tag of the task."""
    found = {name: AUTOMATIC.match(name) for name in tree.classes}
    tags = {name: tag_of(match["task"]) for name, match in found.items() if match}
    return {tag: name for name, tag in sorted(tags.items()) if tag}


def read_families(tree: SourceTree) -> dict[str, dict[str, str]]:
    """Return, for each family, its class by the Hub's tag of the task."""
    families: dict[str, dict[str, str]] = {}
    for names in tree.constants.values():
        for name, value in names.items():
            match = TABLE.match(name)
            tag = tag_of(match["task"]) if match else None
            if match and tag:
                suffix = "-decoder" if match["decoder"] else ""
                for family, member in _rows(value):
                    families.setdefault(family + suffix, {}).setdefault(tag, member)
    return families


def _rows(value: ast.expr) -> list[tuple[str, str]]:
    """Return the keys and the class names of a table written as a list of pairs or as a dictionary."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            pairs += [(key, item) for key, item in zip(node.keys, node.values, strict=True) if key is not None]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:  # noqa: PLR2004 (a pair)
            pairs.append((node.elts[0], node.elts[1]))
    return [
        (key.value, item.id)
        for key, item in pairs
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(item, ast.Name)
    ]
