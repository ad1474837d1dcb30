"""Find where the call of a pipeline reads a parameter, with the conditions of each place.

A parameter whose places are all behind a condition that does not hold has no effect. A place counts as read wherever that
cannot be excluded. Input checks, errors and log messages do not count: they change no output.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from octabox.catalog.reading.effects.values import (
    ClassMethods,
    Scope,
    attribute_of_self,
    depends_on,
    is_pure,
    is_text,
    negation,
    unknown,
)
from octabox.catalog.reading.syntax import Function, is_none

#: Conditions that must all hold, by the parameters of the call and the attributes of the pipeline.
Conditions = tuple[ast.expr, ...]

#: The method that is called, the prefix of those that check inputs, and the functions and objects that write messages.
CALL, CHECK, MESSAGES = "__call__", "check_", frozenset({"logger", "warnings", "deprecate"})

#: How deep calls of methods are followed.
MAX_DEPTH = 5


def find_reads(known: ClassMethods, parameter: str, *, counts_tests: bool = True) -> Iterator[Conditions]:
    """Yield the conditions of each place where a call reads a parameter.

    Args:
        known: The methods of the class.
        parameter: The name of the parameter.
        counts_tests: Whether to compare it with None is to read it.

    Raises:
        LookupError: The call does not declare the parameter.
    """
    call = known.methods.get(CALL)
    names = _parameter_names(call) if call else []
    if call is None or parameter not in names:
        raise LookupError(parameter)
    scope = Scope(known, call, parameter, {name: ast.Name(name) for name in names})
    yield from _Walker(known, parameter, counts_tests=counts_tests).walk(call.body, scope, ())


def _parameter_names(function: Function) -> list[str]:
    signature = function.args
    return [each.arg for each in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs) if each.arg != "self"]


class _Walker:
    """Walks through the statements of a call and of the methods that it calls.

    Args:
        known: The methods of the class.
        parameter: The parameter that is looked for.
        counts_tests: Whether to compare it with None is to read it.
    """

    def __init__(self, known: ClassMethods, parameter: str, *, counts_tests: bool) -> None:
        self._known, self._parameter, self._counts_tests = known, parameter, counts_tests
        self._depth = 0

    def walk(self, body: Sequence[ast.stmt], scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in statements that run under these conditions."""
        for statement in body:
            if isinstance(statement, ast.If):
                yield from self._branch(statement, scope, conditions)
                conditions = (*conditions, *_after(statement, scope))
            elif isinstance(statement, ast.Assign):
                yield from self._assign(statement, scope, conditions)
            elif not isinstance(statement, ast.Raise | ast.Assert) and not _is_message(statement):
                yield from self._other(statement, scope, conditions)

    def _branch(self, statement: ast.If, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in a branch."""
        test = scope.resolve(statement.test)
        if not all(isinstance(each, ast.Raise | ast.Pass) or _is_message(each) for each in statement.body):
            yield from self._truth(statement.test, scope, conditions)
            yield from self.walk(statement.body, scope, (*conditions, test))
        yield from self.walk(statement.orelse, scope, (*conditions, negation(test)))

    def _assign(self, statement: ast.Assign, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        target = statement.targets[0]
        if len(statement.targets) == 1 and is_pure(statement.value):
            if isinstance(target, ast.Name) and scope.is_alias(target.id):
                return
            attribute = attribute_of_self(target)
            if attribute and scope.is_attribute_alias(attribute):
                return
        for each in (statement.value, *statement.targets):
            yield from self._value(each, scope, conditions)

    def _other(self, statement: ast.stmt, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in loops, blocks and simple statements."""
        for _, part in ast.iter_fields(statement):
            for each in part if isinstance(part, list) else [part]:
                if isinstance(each, ast.stmt):
                    yield from self.walk([each], scope, conditions)
                elif isinstance(each, ast.ExceptHandler):
                    yield from self.walk(each.body, scope, conditions)
                elif isinstance(each, ast.AST):
                    yield from self._value(each, scope, conditions)

    def _truth(self, node: ast.expr, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in a condition: an operand matters only where the others do not decide."""
        if isinstance(node, ast.BoolOp):
            is_all = isinstance(node.op, ast.And)
            for operand in node.values:
                others = [scope.resolve(each) for each in node.values if each is not operand]
                yield from self._truth(
                    operand, scope, (*conditions, *(each if is_all else negation(each) for each in others))
                )
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield from self._truth(node.operand, scope, conditions)
        elif _is_leaf(node) and not _is_leaf(resolved := scope.resolve(node)):
            yield from self._truth(resolved, scope.resolved(), conditions)
        else:
            yield from self._value(node, scope, conditions)

    def _value(self, node: ast.AST, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in an expression."""
        attribute = attribute_of_self(node)
        if not self._counts_tests and isinstance(node, ast.Compare) and is_none(node.comparators[0]):
            return
        if attribute in self._known.methods and not self._known.is_property(attribute or ""):
            yield from self._method(self._known.methods[attribute or ""], {}, scope, conditions)
        elif isinstance(node, ast.expr) and _is_leaf(node):
            yield from self._leaf(node, scope, conditions)
        elif isinstance(node, ast.IfExp):
            test = scope.resolve(node.test)
            yield from self._truth(node.test, scope, conditions)
            yield from self._value(node.body, scope, (*conditions, test))
            yield from self._value(node.orelse, scope, (*conditions, negation(test)))
        elif isinstance(node, ast.BoolOp):
            for operand in node.values:
                yield from self._value(operand, scope, conditions)
                resolved = scope.resolve(operand)
                conditions = (*conditions, resolved if isinstance(node.op, ast.And) else negation(resolved))
        elif isinstance(node, ast.Call) and (name := attribute_of_self(node.func)) in self._known.methods:
            yield from self._call(node, self._known.methods[name or ""], scope, conditions)
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._value(child, scope, conditions)

    def _leaf(self, node: ast.expr, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads of a name that depends on the parameter, with the conditions in the value that it stands for."""
        resolved = scope.resolve(node)
        if depends_on(resolved, self._parameter):
            if isinstance(resolved, ast.Name):
                yield conditions
            else:
                yield from self._value(resolved, scope.resolved(), conditions)

    def _call(self, node: ast.Call, method: Function, scope: Scope, conditions: Conditions) -> Iterator[Conditions]:
        """Yield the reads in a call of a method of the class."""
        if method.name.startswith(CHECK):
            return
        bound = list(_bind(node, method))
        arguments: dict[str, ast.expr] = {}
        for name, value in bound:
            if name is None or not is_pure(value):
                yield from self._value(value, scope, conditions)
            if name is not None:
                arguments[name] = scope.resolve(value) if is_pure(value) else unknown()
        is_complete = all(name is not None for name, _ in bound)
        yield from self._method(
            method, {**(dict(_defaults(method)) if is_complete else {}), **arguments}, scope, conditions
        )

    def _method(
        self, method: Function, arguments: Mapping[str, ast.expr], scope: Scope, conditions: Conditions
    ) -> Iterator[Conditions]:
        """Yield the reads in a method of the class that is called with these arguments."""
        if self._depth >= MAX_DEPTH:
            yield conditions
            return
        values = {**dict.fromkeys(_parameter_names(method), unknown()), **arguments}
        self._depth += 1
        yield from self.walk(
            method.body, Scope(self._known, method, self._parameter, values, scope.root or scope), conditions
        )
        self._depth -= 1


def _is_leaf(node: ast.expr) -> bool:
    """Return whether an expression is a name, or an attribute of the pipeline."""
    return isinstance(node, ast.Name) or attribute_of_self(node) is not None


def _bind(node: ast.Call, method: Function) -> Iterator[tuple[str | None, ast.expr]]:
    """Yield the arguments of a call by parameter; None for those that cannot be bound."""
    names = [each.arg for each in (*method.args.posonlyargs, *method.args.args) if each.arg != "self"]
    for index, value in enumerate(node.args):
        yield (None if isinstance(value, ast.Starred) or index >= len(names) else names[index]), value
    known = _parameter_names(method)
    for keyword in node.keywords:
        yield (keyword.arg if keyword.arg in known else None), keyword.value


def _defaults(method: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the constant defaults of a method."""
    positional = [*method.args.posonlyargs, *method.args.args]
    pairs = [
        *zip(reversed(positional), reversed(method.args.defaults), strict=False),
        *zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True),
    ]
    yield from ((each.arg, value) for each, value in pairs if isinstance(value, ast.Constant))


def _is_message(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or writes a message."""
    if is_text(statement):
        return True
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    owner = function.value if isinstance(function, ast.Attribute) else function
    return isinstance(owner, ast.Name) and owner.id in MESSAGES


def _after(statement: ast.If, scope: Scope) -> Conditions:
    """Return the conditions of the statements after a branch that may leave the block."""
    if _leaves(statement.body):
        return (negation(scope.resolve(statement.test)),)
    return (scope.resolve(statement.test),) if _leaves(statement.orelse) else ()


def _leaves(body: Sequence[ast.stmt]) -> bool:
    """Return whether a block ends its function or its turn of a loop."""
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)
