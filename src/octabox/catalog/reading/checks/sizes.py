"""Read size rules from the input checks of a pipeline: ``if height % 8 != 0: raise`` requires multiples of 8.

A number that depends on the model, such as ``self.vae_scale_factor * 2``, is kept as an expression, which the worker
evaluates with the loaded model.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from octabox.catalog.entries import Parameter, SizeRule
from octabox.catalog.reading.checks.refusals import InputCheck, find_input_checks
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource

#: Size parameters; those of one row share a rule.
SIZES = (("height", "width"), ("num_frames",))

#: Maximum depth of the lookup of names in an expression.
DEPTH = 3


def size_rules(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[SizeRule, ...]:
    """Return the size rules of a call; of several rules for one size the strictest."""
    known = {parameter.name for parameter in parameters}
    found: dict[tuple[str, ...], SizeRule] = {}
    for check in find_input_checks(tree, owner):
        for rule in _divisions(check):
            row = next((row for row in SIZES if rule.parameters[0] in row), ())
            if row and known.issuperset(row):
                found[row] = _stricter(found.get(row), replace(rule, parameters=row))
    return tuple(found[row] for row in SIZES if row in found)


def _stricter(one: SizeRule | None, other: SizeRule) -> SizeRule:
    """Return the stricter rule: one that raises before one that rounds, then the larger number; expressions come last."""
    if one is None:
        return other
    return max(one, other, key=lambda rule: (not rule.rounded, rule.multiple or 0))


def _divisions(check: InputCheck) -> Iterator[SizeRule]:
    """Yield a rule for each name whose remainder of a division is compared."""
    for node in ast.walk(check.test):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.NotEq):
            continue
        remainder, expected = node.left, _number(node.comparators[0])
        if isinstance(remainder, ast.BinOp) and isinstance(remainder.op, ast.Mod) and expected is not None:
            name, offset = _size_name(remainder.left)
            divisor = _resolve(remainder.right, check.locals)
            number = _number(divisor)
            text = "" if number else ast.unparse(divisor).replace("self.", "").replace("components.", "")
            yield SizeRule((name,), number, text, offset + expected, not check.raises)


def _size_name(node: ast.expr) -> tuple[str, int]:
    """Return the name in ``height``, ``block_state.height`` or ``(num_frames - 1)``, and the number that is subtracted."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return _size_name(node.left)[0], _number(node.right) or 0
    if isinstance(node, ast.Attribute):
        return node.attr, 0
    return (node.id if isinstance(node, ast.Name) else ""), 0


def _resolve(node: ast.expr, known: Mapping[str, ast.expr], depth: int = DEPTH) -> ast.expr:
    """Return an expression in which local names are replaced by their values."""

    class Replacement(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return _resolve(known[name.id], known, depth - 1) if name.id in known and depth else name

    return ast.parse(ast.unparse(Replacement().visit(ast.parse(ast.unparse(node), mode="eval"))), mode="eval").body


def _number(node: ast.expr) -> int | None:
    """Return the value of an integer, or of a product or power of integers."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Pow):
        left, right = _number(node.left), _number(node.right)
        if left is not None and right is not None:
            return left * right if isinstance(node.op, ast.Mult) else int(left**right)
    return None
