"""Find what sizes a pipeline takes: ``if height % 8 != 0: raise`` says that only multiples of 8 will do.

Where the number is not written out but follows from the model, such as ``self.vae_scale_factor * 2``, the expression is kept:
whoever has the model can work it out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from octabox.catalog.entries import Parameter, SizeRule
from octabox.catalog.reading.checks.refusals import InputCheck, find_input_checks
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource

#: Parameters that are sizes; those of one row have one rule.
SIZES = (("height", "width"), ("num_frames",))

#: How deep an expression's own names are looked up.
DEPTH = 3


def size_rules(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[SizeRule, ...]:
    """Return the rules for the sizes among a call's parameters; of several for one the strictest, if they are numbers."""
    known = {parameter.name for parameter in parameters}
    found: dict[tuple[str, ...], SizeRule] = {}
    for refusal in find_input_checks(tree, owner):
        for rule in _divisions(refusal):
            row = next((row for row in SIZES if rule.parameters[0] in row), ())
            if row and known.issuperset(row):
                found[row] = _stricter(found.get(row), replace(rule, parameters=row))
    return tuple(found[row] for row in SIZES if row in found)


def _stricter(one: SizeRule | None, other: SizeRule) -> SizeRule:
    """Return the rule that refuses, where the other does not; else the larger multiple, a number before an expression."""
    if one is None:
        return other
    return max(one, other, key=lambda rule: (not rule.rounded, rule.multiple or 0))


def _divisions(refusal: InputCheck) -> Iterator[SizeRule]:
    """Yield a rule for each name whose rest of a division is looked at."""
    for node in ast.walk(refusal.test):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.NotEq):
            continue
        rest, wanted = node.left, _number(node.comparators[0])
        if isinstance(rest, ast.BinOp) and isinstance(rest.op, ast.Mod) and wanted is not None:
            name, taken = _sized(rest.left)
            divisor = _resolved(rest.right, refusal.locals)
            number = _number(divisor)
            text = "" if number else ast.unparse(divisor).replace("self.", "").replace("components.", "")
            yield SizeRule((name,), number, text, taken + wanted, not refusal.refuses)


def _sized(node: ast.expr) -> tuple[str, int]:
    """Return the name in ``height``, ``block_state.height`` or ``(num_frames - 1)``, and the number that is taken away."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return _sized(node.left)[0], _number(node.right) or 0
    if isinstance(node, ast.Attribute):
        return node.attr, 0
    return (node.id if isinstance(node, ast.Name) else ""), 0


def _resolved(node: ast.expr, known: Mapping[str, ast.expr], depth: int = DEPTH) -> ast.expr:
    """Return an expression with the names that its function assigns replaced by what they stand for."""

    class Replacement(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return _resolved(known[name.id], known, depth - 1) if name.id in known and depth else name

    return ast.parse(ast.unparse(Replacement().visit(ast.parse(ast.unparse(node), mode="eval"))), mode="eval").body


def _number(node: ast.expr) -> int | None:
    """Return the value of a whole number, or of a product or power of such."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Pow):
        left, right = _number(node.left), _number(node.right)
        if left is not None and right is not None:
            return left * right if isinstance(node.op, ast.Mult) else int(left**right)
    return None
