"""Read in which forms a pipeline returns images, and whether it takes latents in place of one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource

#: The call parameter for the form of the output.
PARAMETER = "output_type"

#: The method of diffusers' image and video processors that returns any of these forms.
POSTPROCESS, PROCESSED = {"postprocess", "postprocess_video"}, ("pil", "np", "pt", "latent")

#: The method of classes whose latents are a sequence, which gives them the axes of an image again.
UNPACK = "_unpack_latents"


def output_types(tree: SourceTree, owner: ClassSource) -> tuple[str, ...]:
    """Return the values of ``output_type`` that a class compares it with, or that the processor it uses takes."""
    found: dict[str, None] = {}
    for node in _nodes(tree, owner):
        if isinstance(node, ast.Compare) and _is_named(node.left, PARAMETER):
            constants = (each for part in node.comparators for each in ast.walk(part) if isinstance(each, ast.Constant))
            found |= {each.value: None for each in constants if isinstance(each.value, str)}
        elif isinstance(node, ast.Attribute) and node.attr in POSTPROCESS:
            found |= dict.fromkeys(PROCESSED)
    if any(UNPACK in ancestor.mentions for ancestor in tree.lineage(owner)):
        # It returns them as a sequence, which no other class takes for an image.
        found.pop("latent", None)
    return tuple(sorted(found))


def takes_latents(tree: SourceTree, owner: ClassSource) -> bool:
    """Return whether a class compares the channels of its image with those of latents."""
    return any(ancestor.checks_latents for ancestor in tree.lineage(owner))


def _nodes(tree: SourceTree, owner: ClassSource) -> Iterator[ast.AST]:
    """Yield the nodes of all methods of a class, inherited ones included."""
    for ancestor in tree.lineage(owner):
        for function in ancestor.functions.values():
            yield from ast.walk(function)


def _is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
