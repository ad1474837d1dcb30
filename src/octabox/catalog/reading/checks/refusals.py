"""Find the input checks of a pipeline: conditions that raise an error or log a warning."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function


@dataclass(frozen=True)
class InputCheck:
    """One input check, at any depth of a function.

    Args:
        test: The condition.
        raises: Whether it raises an error; otherwise it only logs a warning.
        function: The function that contains it.
    """

    test: ast.expr
    raises: bool
    function: Function

    @cached_property
    def locals(self) -> dict[str, ast.expr]:
        """Values of the local names that the function assigns exactly once."""
        found: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.function):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                if isinstance(target, ast.Name) and isinstance(node, ast.Assign):
                    found.setdefault(target.id, []).append(node.value)
        return {name: values[0] for name, values in found.items() if len(values) == 1}


def find_input_checks(tree: SourceTree, owner: ClassSource) -> Iterator[InputCheck]:
    """Yield the input checks in the call and in the check methods of a class."""
    names = {name for ancestor in tree.lineage(owner) for name in ancestor.functions if name.startswith("check_")}
    for name in ("__call__", *sorted(names)):
        located = tree.function(owner, name)
        for node in ast.walk(located[1]) if located else ():
            if isinstance(node, ast.If) and located:
                if any(isinstance(inner, ast.Raise) for inner in node.body):
                    yield InputCheck(node.test, raises=True, function=located[1])
                elif any(_warns(inner) for inner in node.body):
                    yield InputCheck(node.test, raises=False, function=located[1])


def _warns(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr.startswith("warning")
