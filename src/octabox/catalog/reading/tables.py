"""Read the auto pipeline classes and mappings of diffusers."""

from __future__ import annotations

import ast
import re

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.tasks import tag_of

#: Mappings from family to class, for one task; those for decoders are for other weights.
MAPPING = re.compile(r"^_?AUTO_(?P<task>\w+?)(?P<decoder>_DECODER)?_PIPELINES_MAPPING$")

#: Auto pipeline classes.
AUTOMATIC = re.compile(r"^AutoPipelineFor(?P<task>\w+)$")


def read_automatic(tree: SourceTree) -> dict[str, str]:
    """Return the auto pipeline classes by Hub task tag."""
    found = {name: AUTOMATIC.match(name) for name in tree.classes}
    tags = {name: tag_of(match["task"]) for name, match in found.items() if match}
    return {tag: name for name, tag in sorted(tags.items()) if tag}


def read_families(tree: SourceTree) -> dict[str, dict[str, str]]:
    """Return the classes of each family by Hub task tag."""
    families: dict[str, dict[str, str]] = {}
    for names in tree.constants.values():
        for name, value in names.items():
            match = MAPPING.match(name)
            tag = tag_of(match["task"]) if match else None
            if match and tag:
                suffix = "-decoder" if match["decoder"] else ""
                for family, member in _rows(value):
                    families.setdefault(family + suffix, {}).setdefault(tag, member)
    return families


def _rows(value: ast.expr) -> list[tuple[str, str]]:
    """Return the keys and class names of a mapping, written as a list of pairs or as a dictionary."""
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
