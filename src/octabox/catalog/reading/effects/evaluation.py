"""Evaluate expressions in the source of a pipeline: over its attributes, or with the arguments of a call before the call."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from octabox.catalog.reading.effects.values import GLOBAL, SELF, names_in

#: Attributes of a component that a call does not change.
CONSTANT = frozenset({"config", "step"})

#: Values that are part of a message, and its longest part.
SCALARS, MAX_LENGTH = (bool, int, float, str), 80

BUILTINS: Mapping[str, Any] = {
    each.__name__: each for each in (set, len, isinstance, bool, int, float, abs, str, list, tuple, dict)
} | {"inspect": inspect}

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


class CallValues(PipelineValues):
    """The values of conditions before a call.

    Args:
        pipe: The pipeline.
        arguments: The arguments of the call, with defaults.
        components: Types of components, whose attributes a call may change.
    """

    def __init__(self, pipe: Any, arguments: Mapping[str, Any], components: tuple[type, ...]) -> None:
        super().__init__(pipe)
        self._arguments, self._components = arguments, components

    def truth(self, node: ast.expr) -> bool | None:
        """Return whether a condition holds; None if it is not known."""
        if isinstance(node, ast.BoolOp):
            is_all = isinstance(node.op, ast.And)
            parts = [self.truth(each) for each in node.values]
            decisive = not is_all
            return decisive if decisive in parts else None if None in parts else is_all
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.truth(node.operand)
            return None if inner is None else not inner
        try:
            return bool(self.value(node))
        except Exception:  # noqa: BLE001 (any failure leaves the condition unknown)
            return None

    def _compound(self, node: ast.expr) -> Any:
        """Return the value of a comparison, a call or a condition."""
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return COMPARISONS[type(node.ops[0])](self.value(node.left), self.value(node.comparators[0]))
        if isinstance(node, ast.Call):
            return self.value(node.func)(*map(self.value, node.args))
        known = self.truth(node.test if isinstance(node, ast.IfExp) else node) if _is_condition(node) else None
        if known is None:
            raise UnknownValueError(ast.dump(node))
        return self.value(node.body if known else node.orelse) if isinstance(node, ast.IfExp) else known

    def _name(self, name: str) -> Any:
        if name == SELF:
            return self._pipe
        if name.startswith(GLOBAL):
            return BUILTINS[name.removeprefix(GLOBAL)]
        if name not in self._arguments:
            raise UnknownValueError(name)
        return self._arguments[name]

    def _attribute(self, node: ast.Attribute) -> Any:
        """Return an attribute that no call changes."""
        owner = self.value(node.value)
        is_component = isinstance(owner, self._components) and owner is not self._pipe
        if is_component and node.attr not in CONSTANT:
            raise UnknownValueError(node.attr)
        return getattr(owner, node.attr)

    def explain(self, node: ast.expr, *, is_true: bool) -> Iterator[str]:
        """Yield the parts of a condition that decide it, as what a parameter has no effect with."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield from self.explain(node.operand, is_true=not is_true)
        elif isinstance(node, ast.BoolOp):
            for each in node.values:
                if self.truth(each) is is_true:
                    yield from self.explain(each, is_true=is_true)
        elif names := list(dict.fromkeys(names_in(node))):
            yield " and ".join(self._describe(name) for name in names)
        else:
            yield from self._explain_components(node)

    def _describe(self, name: str) -> str:
        value = self._arguments.get(name)
        if value is None:
            return f"without '{name}'"
        return f"with '{name}' {value}"[:MAX_LENGTH] if isinstance(value, SCALARS) else f"with this '{name}'"

    def _explain_components(self, node: ast.expr) -> Iterator[str]:
        """Yield the component of a condition."""
        for each in ast.walk(node):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == SELF:
                part = getattr(self._pipe, each.attr, None)
                kind = type(part).__name__
                yield f"with this model's '{each.attr}'" if part is None or each.attr == "config" else f"with {kind}"
                return


def _is_condition(node: ast.expr) -> bool:
    """Return whether an expression is decided by conditions."""
    is_negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return is_negation or isinstance(node, ast.BoolOp | ast.IfExp)
