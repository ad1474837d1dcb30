"""Read how the constructor of a pipeline computes attributes such as ``vae_scale_factor`` from its components."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from octabox.catalog.reading.effects.values import CONSTRUCTOR, attribute_of_self
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function

#: Attributes by which pipelines of diffusers compute their default size.
DEFAULT_SIZE = ("default_sample_size", "vae_scale_factor")


def constructor_attributes(
    tree: SourceTree, owner: ClassSource, expressions: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Return the names and sources of the attributes that expressions and the default size depend on.

    Args:
        tree: The source of the package.
        owner: The pipeline class.
        expressions: Expressions over the attributes of the pipeline, such as ``vae_scale_factor * 2``.
    """
    assigned: dict[str, ast.expr] = {}
    for ancestor in tree.lineage(owner):
        constructor = ancestor.functions.get(CONSTRUCTOR)
        if constructor is not None:
            assigned = {**dict(_assignments(constructor)), **assigned}
    needed = {*DEFAULT_SIZE, *(word for text in expressions for word in re.findall(r"[A-Za-z_]\w*", text))}
    found: dict[str, str] = {}
    while missing := sorted((needed & assigned.keys()) - found.keys()):
        for name in missing:
            found[name] = ast.unparse(assigned[name])
            needed |= {attribute for node in ast.walk(assigned[name]) if (attribute := attribute_of_self(node))}
    return tuple(found.items())


def _assignments(constructor: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the attributes that a constructor sets once, with their values; parameters are the components of their name."""
    parameters = {each.arg for each in (*constructor.args.args, *constructor.args.kwonlyargs)} - {"self"}
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(constructor):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if (name := attribute_of_self(target)) and isinstance(node, ast.Assign):
                found.setdefault(name, []).append(node.value)
    for name, values in found.items():
        if len(values) == 1:
            yield name, _Components(parameters).visit(ast.parse(ast.unparse(values[0]), mode="eval").body)


class _Components(ast.NodeTransformer):
    """Replace parameters of a constructor by the attributes of the pipeline in which it registers them."""

    def __init__(self, parameters: set[str]) -> None:
        self._parameters = parameters

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return ``self.vae`` for ``vae``."""
        return ast.Attribute(ast.Name("self"), node.id) if node.id in self._parameters else node
