"""Read groups of alternative parameters from the input checks of a pipeline.

``if prompt is None and prompt_embeds is None: raise`` means that one of the two is required.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from octabox.catalog.entries import Parameter
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource


def required_groups(
    tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]
) -> tuple[tuple[str, ...], ...]:
    """Return groups of parameters, of which one must not be None; each group has a media or a text parameter.

    Groups of numbers are skipped: these parameters usually have a value by then.
    """
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[tuple[str, ...], None] = {}
    for method in ("check_inputs", "__call__"):
        located = tree.function(owner, method)
        for test in _raising_tests(located[1].body) if located else ():
            group = [known[name] for name in sorted(_none_names(test)) if name in known]
            has_content = any(member.is_media or member.kind == "text" for member in group)
            if has_content and all(member.required or member.default is None for member in group):
                found[tuple(member.name for member in group)] = None
    return tuple(found)


def _raising_tests(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Yield the conditions under which top-level statements raise an error."""
    for statement in body:
        node: ast.stmt | None = statement
        while isinstance(node, ast.If):
            if any(isinstance(inner, ast.Raise) for inner in node.body):
                yield node.test
            node = node.orelse[0] if len(node.orelse) == 1 else None


def _none_names(test: ast.expr) -> set[str]:
    """Return the names of a condition that only tests whether all of them are None; otherwise nothing."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    names = {_none_name(part) for part in parts}
    return set() if None in names else {name for name in names if name}


def _none_name(node: ast.expr) -> str | None:
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
