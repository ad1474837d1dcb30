"""Find which parameters a pipeline asks for together, from the checks it makes itself.

``if prompt is None and prompt_embeds is None: raise`` says that it needs one of the two.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from octabox.catalog.entries import Parameter, names
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource


def required_groups(
    tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]
) -> tuple[tuple[str, ...], ...]:
    """Return groups of parameters, files or words among them, of which each group needs one that is not None.

    Checks of numbers are left out: what they look at has mostly been given a value before.
    """
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[tuple[str, ...], None] = {}
    for method in ("check_inputs", "__call__"):
        located = tree.function(owner, method)
        for test in _refusals(located[1].body) if located else ():
            group = [known[name] for name in sorted(_absent(test)) if name in known]
            asks = any(member.is_media or member.kind == "text" for member in group)
            if asks and all(member.required or member.default is None for member in group):
                found[names(group)] = None
    return tuple(found)


def _refusals(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Yield the conditions under which the outermost statements raise an error."""
    for statement in body:
        node: ast.stmt | None = statement
        while isinstance(node, ast.If):
            if any(isinstance(inner, ast.Raise) for inner in node.body):
                yield node.test
            node = node.orelse[0] if len(node.orelse) == 1 else None


def _absent(test: ast.expr) -> set[str]:
    """Return the names of a condition that does nothing but ask whether all of them are None; else nothing."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    absent = {_none_test(part) for part in parts}
    return set() if None in absent else {name for name in absent if name}


def _none_test(node: ast.expr) -> str | None:
    if (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Is)
        and isinstance(node.comparators[0], ast.Constant)
        and node.comparators[0].value is None
    ):
        return node.left.id
    return None
