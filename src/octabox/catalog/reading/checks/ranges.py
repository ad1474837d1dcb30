"""Read the ranges of numbers from input checks: ``if strength < 0 or strength > 1: raise`` allows 0 to 1."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from octabox.catalog.entries import Parameter
from octabox.catalog.ranges import Range
from octabox.catalog.reading.checks.refusals import find_input_checks
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, literal

#: Comparisons that refuse what is below a bound, with the field of the bound, and those that refuse what is above it.
_REFUSED: dict[type[ast.cmpop], str] = {
    ast.Lt: "minimum",
    ast.LtE: "exclusive_minimum",
    ast.Gt: "maximum",
    ast.GtE: "exclusive_maximum",
}

#: The comparison with its sides exchanged, and its opposite.
_EXCHANGED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}

#: Words of a description that state both bounds.
_BETWEEN = re.compile(
    r"(?i)must be (?:a (?:number|value|float) )?between `?(\d+(?:\.\d+)?)`? and `?(\d+(?:\.\d+)?)`?(?![\d.]*\w)"
)

#: A comparison of a name with a number that refuses a call.
_Refusal = tuple[str, type[ast.cmpop], float]


def with_ranges(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters with the ranges outside which the input checks of a class raise an error."""
    parameters = tuple(parameters)
    bounds: dict[str, dict[str, Any]] = {each.name: {} for each in parameters if each.kind in ("integer", "number")}
    for check in find_input_checks(tree, owner) if bounds else ():
        for name, comparison, number in _refusals(check.test) if check.raises else ():
            if name in bounds:
                bounds[name].setdefault(_REFUSED[comparison], number)
    return tuple(
        replace(each, range=Range(**bounds[each.name]) if bounds[each.name] else _documented(each))
        if each.name in bounds
        else each
        for each in parameters
    )


def _documented(parameter: Parameter) -> Range:
    """Return the bounds in a description such as "Must be between 0 and 1."."""
    found = _BETWEEN.search(parameter.description)
    return Range(float(found[1]), float(found[2]), documented=True) if found else Range()


def _refusals(test: ast.expr, *, holds: bool = True) -> Iterator[_Refusal]:
    """Yield the comparisons each of which makes a condition true; with ``holds`` False, those that make it false."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _refusals(test.operand, holds=not holds)
    elif isinstance(test, ast.BoolOp):
        sufficient = isinstance(test.op, ast.Or if holds else ast.And)
        # A parameter that may be None is compared where it is not.
        parts = test.values if sufficient else [each for each in test.values if not _is_presence(each)]
        if sufficient or len(parts) == 1:
            for each in parts:
                yield from _refusals(each, holds=holds)
    elif isinstance(test, ast.Compare) and (not holds or len(test.ops) == 1):
        yield from _comparisons(test, holds=holds)


def _comparisons(test: ast.Compare, *, holds: bool) -> Iterator[_Refusal]:
    """Yield the comparisons of a chain such as ``0 <= strength <= 1``, or their opposites."""
    sides = [test.left, *test.comparators]
    for left, operator, right in zip(sides, test.ops, sides[1:], strict=False):
        comparison, name, number = type(operator), _name(left), literal(right)
        if comparison not in _EXCHANGED:
            continue
        if name is None:
            comparison, name, number = _EXCHANGED[comparison], _name(right), literal(left)
        if name is not None and isinstance(number, int | float) and not isinstance(number, bool):
            yield name, comparison if holds else _OPPOSITE[comparison], number


def _is_presence(node: ast.expr) -> bool:
    """Return whether a condition is that something is not None, or true."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return isinstance(node.ops[0], ast.IsNot) and literal(node.comparators[0]) is None
    return _name(node) is not None


def _name(node: ast.expr) -> str | None:
    """Return the parameter in ``strength`` or ``block_state.strength``; None for any other expression."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id != "self":
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
