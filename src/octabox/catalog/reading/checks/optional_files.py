"""Find the files that a call may go without, although neither their types nor their documentation state that.

``if audio_file is not None or raw_audio is not None`` around all that reads ``raw_audio`` means that it is not needed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from octabox.catalog.entries import Parameter
from octabox.catalog.reading.effects.evaluation import CallValues
from octabox.catalog.reading.effects.reads import find_reads
from octabox.catalog.reading.effects.values import ClassMethods
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function, is_none, literal

CALL = "__call__"


def with_optional_files(tree: SourceTree, owner: ClassSource, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """Return the parameters, of which files that a call with its defaults does not read are not required."""
    parameters = tuple(parameters)
    call = tree.function(owner, CALL)
    if call is None:
        return parameters
    defaults = dict(_defaults(call[1]))
    candidates = {each.name for each in parameters if each.is_media and each.required} & _tested(call[1])
    candidates = {name for name in candidates if is_none(defaults.get(name))}
    if not candidates:
        return parameters
    values = {name: literal(node) for name, node in defaults.items() if is_none(node) or literal(node) is not None}
    methods: dict[str, Function] = {}
    for ancestor in tree.lineage(owner):
        methods = {**ancestor.functions, **methods}
    unread = {name for name in candidates if not _is_read(ClassMethods(methods), name, values)}
    return tuple(replace(each, required=False) if each.name in unread else each for each in parameters)


def _defaults(call: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the parameters that have a default, with it."""
    positional = [*call.args.posonlyargs, *call.args.args]
    found = [*zip(reversed(positional), reversed(call.args.defaults), strict=False)]
    found += ((each, node) for each, node in zip(call.args.kwonlyargs, call.args.kw_defaults, strict=True) if node)
    yield from ((each.arg, node) for each, node in found)


def _tested(call: Function) -> set[str]:
    """Return the names that a call compares with None: without that, it needs a file, whatever else it reads."""
    compared = (node for node in ast.walk(call) if isinstance(node, ast.Compare) and is_none(node.comparators[0]))
    return {node.left.id for node in compared if isinstance(node.left, ast.Name)}


def _is_read(known: ClassMethods, name: str, values: Mapping[str, Any]) -> bool:
    """Return whether a call may read a parameter, where it and others have these values; components are not known."""
    known_values = CallValues(None, values, ())
    try:
        places = find_reads(known, name, counts_tests=False)
        return any(all(known_values.truth(each) is not False for each in conditions) for conditions in places)
    except (LookupError, RecursionError):
        return True
