"""Find the words that a parameter takes, where only a check counts them: ``if mode not in ["wet", "dry"]: raise``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace

from octabox.catalog.entries import Parameter
from octabox.catalog.reading.checks.refusals import find_input_checks
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, literal


def with_choices(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters, those of words with the choices that the class's checks count."""
    parameters = tuple(parameters)
    open_ones = {each.name for each in parameters if each.kind == "text" and not each.many}
    found: dict[str, tuple[str, ...]] = {}
    for refusal in find_input_checks(tree, owner) if open_ones else ():
        test = refusal.test
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotIn) and isinstance(test.left, ast.Name):
            words = _words(tree, owner, test.comparators[0])
            if refusal.refuses and words and test.left.id in open_ones:
                found[test.left.id] = words
    return tuple(
        replace(each, kind="choice", choices=found[each.name]) if each.name in found else each for each in parameters
    )


def _words(tree: SourceTree, owner: ClassSource, node: ast.expr) -> tuple[str, ...]:
    """Return the words of a list that is written out, or that a module or the class has a name for."""
    value = literal(node)
    if isinstance(node, ast.Name):
        value = literal(tree.constants.get(owner.module, {}).get(node.id))
    elif isinstance(node, ast.Attribute):
        value = tree.value(owner, node.attr)
    words = tuple(value) if isinstance(value, list | tuple | set | dict) else ()
    if not all(isinstance(word, str) for word in words):
        return ()
    # A set has another order in every process.
    return tuple(sorted(words)) if isinstance(value, set) else words
