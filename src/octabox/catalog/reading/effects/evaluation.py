"""Evaluate expressions in the source of a pipeline over its attributes."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from octabox.catalog.reading.effects.values import SELF

OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}

COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}


class UnknownValueError(Exception):
    """A value depends on what is not known."""


class PipelineValues:
    """The values of expressions over the attributes of a pipeline: items, attributes and integer arithmetic, without calls.

    Args:
        pipe: The pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression.

        Raises:
            UnknownValueError: It is not known; other errors are those of the attributes and operators.
        """
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self.value(node.value)[self.value(node.slice)]
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](self.value(node.left), self.value(node.right))
        return self._compound(node)

    def _name(self, name: str) -> Any:
        """Return the value of a name: that of an attribute of the pipeline."""
        return self._pipe if name == SELF else getattr(self._pipe, name)

    def _attribute(self, node: ast.Attribute) -> Any:
        """Return an attribute of a value."""
        return getattr(self.value(node.value), node.attr)

    def _compound(self, node: ast.expr) -> Any:
        """Return the value of any other expression."""
        raise UnknownValueError(ast.dump(node))
