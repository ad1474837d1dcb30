"""Express what a function computes by the parameters of the call and the attributes of the pipeline.

A name stands for a parameter of the call, ``self`` for the pipeline, and a name after ``::`` for a builtin or a module. What
cannot be expressed is unknown.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from octabox.catalog.reading.syntax import Function

#: The pipeline, what is not known, the same where it depends on the parameter, and the prefix of names that are not local.
SELF, UNKNOWN, DEPENDENT, GLOBAL = "self", "?", "?!", "::"

#: Functions without side effects whose result depends on their arguments alone, and methods of this kind.
PURE_FUNCTIONS = frozenset(
    {"set", "len", "isinstance", "hasattr", "getattr", "bool", "int", "float", "abs", "signature"}
)
PURE_METHODS = frozenset({"keys"})

#: Expressions that have a separate scope.
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

CONSTRUCTOR = "__init__"

#: A line after all others: the names of an expression may have been stored anywhere.
LAST_LINE = sys.maxsize


def unknown(*, dependent: bool = False) -> ast.Name:
    """Return an unknown value, which may depend on the parameter."""
    return ast.Name(DEPENDENT if dependent else UNKNOWN)


def depends_on(value: ast.expr, parameter: str) -> bool:
    """Return whether a value is computed from a parameter."""
    return any(isinstance(node, ast.Name) and node.id in (parameter, DEPENDENT) for node in ast.walk(value))


def is_pure(node: ast.expr) -> bool:
    """Return whether an expression has no side effects, and a value that depends on its parts alone."""
    return all(not isinstance(each, (ast.Call, *SCOPES)) or _is_pure_call(each) for each in ast.walk(node))


def _is_pure_call(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or node.keywords:
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr in PURE_METHODS or function.attr in PURE_FUNCTIONS
    return isinstance(function, ast.Name) and function.id in PURE_FUNCTIONS


def attribute_of_self(node: ast.AST) -> str | None:
    """Return the name of an attribute of the pipeline; None for any other expression."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == SELF:
        return node.attr
    return None


class ClassMethods:
    """The methods of a pipeline class, inherited ones included, and what they store in attributes of the pipeline.

    Args:
        methods: The methods and properties by name.
        mentioned: All words in the source of ancestors whose methods are not among them.
    """

    def __init__(self, methods: Mapping[str, Function], mentioned: frozenset[str] = frozenset()) -> None:
        self.methods, self._mentioned = methods, mentioned
        self._stored: Counter[str] = Counter()
        self._assigned: dict[str, tuple[str, ast.expr]] = {}
        for name, function in methods.items():
            if name != CONSTRUCTOR:
                self._note_stores(name, function)

    def _note_stores(self, name: str, function: Function) -> None:
        for node in ast.walk(function):
            attribute = attribute_of_self(node)
            if attribute and isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                self._stored[attribute] += 1
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = attribute_of_self(node.targets[0])
                if target and is_pure(node.value):
                    self._assigned[target] = name, node.value

    def is_stored(self, attribute: str) -> bool:
        """Return whether a method stores an attribute."""
        return bool(self._stored[attribute])

    def stored_once(self, attribute: str, method: str) -> ast.expr | None:
        """Return the value of an attribute that is stored once, by this method, and read by known methods alone."""
        found = self._assigned.get(attribute)
        if self._stored[attribute] != 1 or found is None or found[0] != method or attribute in self._mentioned:
            return None
        return found[1]

    def returned(self, name: str) -> ast.expr | None:
        """Return the expression that a property returns; None if it does more."""
        function = self.methods.get(name)
        if function is None or not self.is_property(name):
            return None
        body = [each for each in function.body if not is_text(each)]
        only = body[0] if len(body) == 1 else None
        return only.value if isinstance(only, ast.Return) and only.value is not None and is_pure(only.value) else None

    def reads_attributes(self, name: str) -> bool:
        """Return whether a property reads attributes that methods store, or calls methods."""
        attributes = {attribute_of_self(node) for node in ast.walk(self.methods[name])}
        return any(each and (self._stored[each] or each in self.methods) for each in attributes)

    def is_property(self, name: str) -> bool:
        """Return whether a method is a property."""
        function = self.methods.get(name)
        decorators = function.decorator_list if function else []
        return any(isinstance(each, ast.Name) and each.id == "property" for each in decorators)


def is_text(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


@dataclass
class Scope:
    """The values of the names in one function.

    Args:
        known: The methods of the class.
        function: The function.
        parameter: The parameter of the call that is looked for.
        arguments: The values of the function's own parameters.
        root: The scope of the call itself; None if it is this one.
    """

    known: ClassMethods
    function: Function
    parameter: str
    arguments: Mapping[str, ast.expr]
    root: Scope | None = None
    _stores: Counter[str] = field(default_factory=Counter)
    _first_stores: dict[str, int] = field(default_factory=dict)
    _assigned: dict[str, ast.Assign] = field(default_factory=dict)
    _values: dict[tuple[str, int], ast.expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._stores[node.id] += 1
                self._first_stores[node.id] = min(node.lineno, self._first_stores.get(node.id, node.lineno))
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned[node.targets[0].id] = node

    def is_alias(self, name: str) -> bool:
        """Return whether a local name has one value, which is expressed by others."""
        found = self._assigned.get(name)
        return name not in self.arguments and self._stores[name] == 1 and found is not None and is_pure(found.value)

    def is_attribute_alias(self, attribute: str) -> bool:
        """Return whether an attribute of the pipeline has one value, which the call gives it."""
        return self.root is None and self.known.stored_once(attribute, self.function.name) is not None

    def resolve(self, node: ast.expr, line: int = LAST_LINE) -> ast.expr:
        """Return an expression over the parameters of the call and the attributes of the pipeline.

        Args:
            node: The expression.
            line: Line before which names are stored, if it is evaluated once.
        """
        if isinstance(node, ast.Name):
            return self._name(node.id, line)
        if attribute := attribute_of_self(node):
            return self._attribute(attribute)
        if isinstance(node, SCOPES) or (isinstance(node, ast.Call) and not _is_pure_call(node)):
            parts = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            return unknown(dependent=any(depends_on(self.resolve(each, line), self.parameter) for each in parts))
        return _rebuild(node, lambda part: self.resolve(part, line))

    def _name(self, name: str, line: int) -> ast.expr:
        key = name, line
        if key not in self._values:
            # A name that is computed from itself is unknown.
            self._values[key] = unknown()
            self._values[key] = self._value(name, line)
        return self._values[key]

    def _value(self, name: str, line: int) -> ast.expr:
        if name == SELF:
            return ast.Name(SELF)
        if name in self.arguments:
            value = self.arguments[name]
            is_stored = self._stores[name] and self._first_stores[name] <= line
            return unknown(dependent=depends_on(value, self.parameter)) if is_stored else value
        if self.is_alias(name):
            found = self._assigned[name]
            is_once = found in self.function.body
            return self.resolve(found.value, found.lineno if is_once else LAST_LINE)
        return unknown() if self._stores[name] else ast.Name(GLOBAL + name)

    def _attribute(self, name: str) -> ast.expr:
        """Return the value of an attribute of the pipeline."""
        known, root = self.known, self.root or self
        if (value := known.returned(name)) is not None:
            return self.resolve(value)
        if (value := known.stored_once(name, root.function.name)) is not None:
            return root.resolve(value)
        if known.is_property(name):
            return unknown(dependent=known.reads_attributes(name))
        return unknown() if known.is_stored(name) else ast.Attribute(ast.Name(SELF), name)

    def resolved(self) -> Scope:
        """Return the scope of an expression that is resolved."""
        return _Resolved(self.known, _EMPTY, self.parameter, {}, self.root or self)


class _Resolved(Scope):
    """A scope for expressions whose names are resolved."""

    def resolve(self, node: ast.expr, line: int = LAST_LINE) -> ast.expr:  # noqa: ARG002 (it has no lines)
        """Return the expression, which is resolved already."""
        return node


_EMPTY = ast.FunctionDef("resolved", ast.arguments([], [], None, [], [], None, []), [], [])


def _rebuild(node: ast.expr, resolve: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """Return an expression with its parts resolved."""
    fields: dict[str, Any] = {}
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            fields[name] = [resolve(each) if isinstance(each, ast.expr) else each for each in value]
        else:
            fields[name] = resolve(value) if isinstance(value, ast.expr) else value
    return type(node)(**fields)


def negation(value: ast.expr) -> ast.expr:
    """Return the opposite of a condition."""
    return ast.UnaryOp(ast.Not(), value)


def names_in(value: ast.expr) -> Iterator[str]:
    """Yield the parameters of the call in a value."""
    for node in ast.walk(value):
        if isinstance(node, ast.Name) and node.id not in (SELF, UNKNOWN, DEPENDENT) and GLOBAL not in node.id:
            yield node.id
