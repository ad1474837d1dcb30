"""Read the choices of a text parameter from input checks: ``if mode not in ["wet", "dry"]: raise``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from octabox.catalog.entries import Parameter
from octabox.catalog.reading.checks.refusals import find_input_checks
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, literal


def with_choices(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters with the choices that the input checks of a class list."""
    parameters = tuple(parameters)
    open_texts = {each.name for each in parameters if each.kind == "text" and not each.many}
    found: dict[str, tuple[str, ...]] = {}
    for check in find_input_checks(tree, owner) if open_texts else ():
        test = check.test
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotIn) and isinstance(test.left, ast.Name):
            words = _words(tree, owner, test.comparators[0])
            if check.raises and words and test.left.id in open_texts:
                found[test.left.id] = words
    return tuple(
        replace(each, kind="choice", choices=found[each.name]) if each.name in found else each for each in parameters
    )


def _words(tree: SourceTree, owner: ClassSource, node: ast.expr) -> tuple[str, ...]:
    """Return the words of a literal list, or of a constant of the module or the class."""
    value = literal(node)
    if isinstance(node, ast.Name):
        value = literal(tree.constants.get(owner.module, {}).get(node.id))
    elif isinstance(node, ast.Attribute):
        value = tree.value(owner, node.attr)
    words = tuple(value) if isinstance(value, list | tuple | set | dict) else ()
    if not all(isinstance(word, str) for word in words):
        return ()
    # The order of a set differs between processes.
    return tuple(sorted(words)) if isinstance(value, set) else words
