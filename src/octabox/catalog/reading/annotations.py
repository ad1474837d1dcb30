"""Understand a type annotation from its text, in today's spelling and in the old one of ``typing``.

``Optional[Union[str, List[str]]]`` and ``str | list[str] | None`` read the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

#: What the last part of a type's name says of its values.
ATOMS = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "dict": "mapping",
    "Dict": "mapping",
    "Mapping": "mapping",
    "OrderedDict": "mapping",
    "Image": "image",
    "ndarray": "array",
    "array": "array",
    "Tensor": "array",
    "FloatTensor": "array",
    "LongTensor": "array",
    "IntTensor": "array",
    "BoolTensor": "array",
    "Generator": "generator",
    "RandomState": "generator",
    "Callable": "callback",
}

#: Types that hold several of what stands in their brackets.
LISTS = frozenset({"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set", "Set"})


@dataclass(frozen=True)
class Shape:
    """What values a type allows.

    Args:
        atoms: Single values, by the words of `ATOMS`; the names of other types as they are.
        items: What a list may hold, where a list is allowed.
        none: Whether None is allowed.
        choices: The values of ``Literal``.
    """

    atoms: frozenset[str] = frozenset()
    items: Shape | None = None
    none: bool = False
    choices: tuple[Any, ...] = ()

    def __or__(self, other: Shape) -> Shape:
        """Return what allows the values of both."""
        items = self.items | other.items if self.items and other.items else self.items or other.items
        return Shape(self.atoms | other.atoms, items, self.none or other.none, (*self.choices, *other.choices))

    @property
    def leaves(self) -> frozenset[str]:
        """All single values, alone or at any depth of lists."""
        return self.atoms | (self.items.leaves if self.items else frozenset())

    @property
    def depth(self) -> int:
        """How many lists may stand inside each other."""
        return 1 + self.items.depth if self.items else 0


#: Returns what an alias such as ``PipelineImageInput`` stands for.
Aliases = Callable[[str], "ast.expr | None"]


@lru_cache(maxsize=4096)
def parse_annotation(text: str) -> Shape:
    """Return what an annotation allows; nothing where it is no valid Python."""
    try:
        return read_annotation(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return Shape()


def read_annotation(node: ast.expr, aliases: Aliases = lambda _: None) -> Shape:
    """Return what an annotation's expression allows."""
    if isinstance(node, ast.Constant):
        return _constant(node.value, aliases)
    if isinstance(node, ast.BinOp):
        return read_annotation(node.left, aliases) | read_annotation(node.right, aliases)
    if isinstance(node, ast.Subscript):
        return _subscript(_last(node.value), _elements(node.slice), aliases)
    return _named(_last(node), aliases)


def _named(name: str, aliases: Aliases) -> Shape:
    """Return what a type allows that is written as a name."""
    if name in LISTS:
        return Shape(items=Shape())
    if name in ATOMS or not name:
        return Shape(frozenset({ATOMS[name]}) if name else frozenset())
    meaning = aliases(name)
    # A class may be bound to its own name somewhere; following that would never end.
    if meaning is not None and name not in ast.unparse(meaning):
        return read_annotation(meaning, aliases)
    return Shape() if name == "Any" else Shape(frozenset({name}))


def _constant(value: object, aliases: Aliases) -> Shape:
    if value is None:
        return Shape(none=True)
    if not isinstance(value, str):
        return Shape()
    try:
        return read_annotation(ast.parse(value, mode="eval").body, aliases)
    except (SyntaxError, ValueError):
        return Shape()


def _subscript(name: str, elements: list[ast.expr], aliases: Aliases) -> Shape:
    if name == "Literal":
        values = [element.value for element in elements if isinstance(element, ast.Constant)]
        return Shape(none=None in values, choices=tuple(value for value in values if value is not None))
    if name in ATOMS:
        return Shape(frozenset({ATOMS[name]}))
    if name == "Annotated":
        return read_annotation(elements[0], aliases)
    inner = reduce(
        Shape.__or__, (read_annotation(element, aliases) for element in elements if not _is_ellipsis(element)), Shape()
    )
    if name in LISTS:
        return Shape(items=inner)
    return inner | Shape(none=True) if name == "Optional" else inner


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _elements(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
