"""Parse type annotations, in the syntax of ``typing`` and in that of PEP 604.

``Optional[Union[str, List[str]]]`` and ``str | list[str] | None`` give the same result.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

#: Kind of values by the last part of a type name.
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

#: Types that hold several values of the type in their brackets.
LISTS = frozenset({"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "set", "Set"})


@dataclass(frozen=True)
class Shape:
    """The values that a type allows.

    Args:
        atoms: Kinds of single values, as in `ATOMS`; other types by their name.
        items: Items of a list, if a list is allowed.
        none: Whether None is allowed.
        choices: The values of ``Literal``.
    """

    atoms: frozenset[str] = frozenset()
    items: Shape | None = None
    none: bool = False
    choices: tuple[Any, ...] = ()

    def __or__(self, other: Shape) -> Shape:
        """Return the union of both."""
        items = self.items | other.items if self.items and other.items else self.items or other.items
        return Shape(self.atoms | other.atoms, items, self.none or other.none, (*self.choices, *other.choices))

    @property
    def leaves(self) -> frozenset[str]:
        """Kinds of single values, at any depth of lists."""
        return self.atoms | (self.items.leaves if self.items else frozenset())

    @property
    def depth(self) -> int:
        """Depth of nested lists."""
        return 1 + self.items.depth if self.items else 0


#: Returns the expression of a type alias such as ``PipelineImageInput``.
Aliases = Callable[[str], "ast.expr | None"]


@lru_cache(maxsize=4096)
def parse_annotation(text: str) -> Shape:
    """Return the values that an annotation allows; an empty shape if it is not valid Python."""
    try:
        return read_annotation(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return Shape()


def read_annotation(node: ast.expr, aliases: Aliases = lambda _: None) -> Shape:
    """Return the values that the expression of an annotation allows."""
    if isinstance(node, ast.Constant):
        return _constant(node.value, aliases)
    if isinstance(node, ast.BinOp):
        return read_annotation(node.left, aliases) | read_annotation(node.right, aliases)
    if isinstance(node, ast.Subscript):
        return _subscript(_last(node.value), _elements(node.slice), aliases)
    return _name(_last(node), aliases)


def _name(name: str, aliases: Aliases) -> Shape:
    """Return the values that a type allows, by its name."""
    if name in LISTS:
        return Shape(items=Shape())
    if name in ATOMS or not name:
        return Shape(frozenset({ATOMS[name]}) if name else frozenset())
    alias = aliases(name)
    # A name that is assigned to itself would not end.
    if alias is not None and name not in ast.unparse(alias):
        return read_annotation(alias, aliases)
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
