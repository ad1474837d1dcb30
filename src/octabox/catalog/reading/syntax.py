"""Take one file of source apart: its classes, functions, imports and assignments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: A class with this metaclass only says that an optional dependency is missing.
STAND_IN = "DummyObject"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class ClassSource:
    """A class as its source tells it.

    Args:
        name: Its name.
        module: Dotted name of its module.
        bases: Names of its bases, without the modules they are written with.
        doc: Its docstring.
        values: Assignments of its body.
        fields: Annotated names of its body, in order.
        functions: Its methods and properties.
        mentions: Every name and attribute that its methods read.
        imports: Names that its module imports, with the module and the name they stand for.
    """

    name: str
    module: str
    bases: tuple[str, ...]
    doc: str
    values: Mapping[str, ast.expr]
    fields: Mapping[str, ast.expr]
    functions: Mapping[str, Function]
    mentions: frozenset[str]
    imports: Mapping[str, tuple[str, str]] = field(repr=False)


@dataclass(frozen=True)
class ModuleSource:
    """A module as its source tells it.

    Args:
        classes: Its classes.
        constants: Assignments at its top.
        backends: Backends that a class cannot do without, by its name, as its stand-in lists them.
        functions: What each of its functions mentions.
        imports: Names that it imports from a module, with the module and the name they stand for.
        foreign: Names that stand for something of another package, with that package.
    """

    classes: tuple[ClassSource, ...]
    constants: Mapping[str, ast.expr]
    backends: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, frozenset[str]]
    imports: Mapping[str, tuple[str, str]]
    foreign: Mapping[str, str]


def read_module(text: bytes, module: str, *, is_package: bool) -> ModuleSource:
    """Return what a file says.

    Args:
        text: Its content.
        module: Dotted name of the module that it is.
        is_package: Whether that is a package.

    Raises:
        SyntaxError, ValueError: It is no valid Python.
    """
    tree = ast.parse(text)
    imports = _imports(tree, module, is_package=is_package)
    classes: list[ClassSource] = []
    constants: dict[str, ast.expr] = {}
    backends: dict[str, tuple[str, ...]] = {}
    functions: dict[str, frozenset[str]] = {}
    for node in _top_level(tree):
        if isinstance(node, ast.ClassDef):
            if any(keyword.arg == "metaclass" and _last(keyword.value) == STAND_IN for keyword in node.keywords):
                backends[node.name] = _backends(node)
            else:
                classes.append(_class_source(node, module, imports))
        elif isinstance(node, Function):
            functions[node.name] = frozenset(_mentions(node))
        elif isinstance(node, ast.Assign):
            constants.update(_assigned(node))
            constants.update(_extended(node, constants))
    return ModuleSource(tuple(classes), constants, backends, functions, imports, _foreign(tree, module))


def literal(node: ast.expr | None) -> object:
    """Return the value of a literal, or None."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError):
        return None


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, and those that stand under an ``if``, ``try``, ``else`` or ``with`` of it."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If):
            waiting = [*node.body, *node.orelse, *waiting]
        elif isinstance(node, ast.Try):
            waiting = [*node.body, *node.orelse, *(inner for each in node.handlers for inner in each.body), *waiting]
        elif isinstance(node, ast.With):
            waiting = [*node.body, *waiting]


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for node in _top_level(tree):
        if isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + (1 if is_package else 0)] if node.level else []
            source = ".".join([*above, node.module] if node.module else above)
            found.update({name.asname or name.name: (source, name.name) for name in node.names})
    return found


def _class_source(node: ast.ClassDef, module: str, imports: Mapping[str, tuple[str, str]]) -> ClassSource:
    values: dict[str, ast.expr] = {}
    fields: dict[str, ast.expr] = {}
    functions: dict[str, Function] = {}
    mentions: set[str] = set()
    for part in node.body:
        if isinstance(part, ast.Assign):
            values.update(_assigned(part))
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            fields[part.target.id] = part.annotation
        elif isinstance(part, Function):
            functions[part.name] = part
            mentions.update(_mentions(part))
    bases = tuple(_last(base) for base in node.bases)
    return ClassSource(
        node.name,
        module,
        bases,
        ast.get_docstring(node) or "",
        values,
        fields,
        _kept(functions),
        frozenset(mentions),
        imports,
    )


#: Methods whose inside is read later. Of the others only the names that they mention are kept, for source is large.
KEPT = re.compile(
    r"^(__call__|__init__|from_single_file|check_\w+|inputs|intermediate_outputs|expected_components|loop_\w+|set_timesteps|step)$"
)


def _kept(functions: Mapping[str, Function]) -> dict[str, Function]:
    return {name: function for name, function in functions.items() if KEPT.match(name)}


def _mentions(function: Function) -> Iterator[str]:
    """Yield every name and attribute that a function reads, and "import x" for each package that it imports itself."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f"import {package}" for package in _imported(node).values())


def _foreign(tree: ast.Module, own: str) -> dict[str, str]:
    """Return the names at the top of a module that stand for other packages or for something in them."""
    found: dict[str, str] = {}
    for node in _top_level(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(_imported(node))
    return {name: package for name, package in found.items() if package != own.partition(".")[0]}


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return the names that a statement binds, with the package that each is from."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: alias.name.partition(".")[0] for alias in node.names}
    if node.level or not node.module:
        return {}
    return {alias.asname or alias.name: node.module.partition(".")[0] for alias in node.names}


def _backends(stand_in: ast.ClassDef) -> tuple[str, ...]:
    """Return what a stand-in says that the class it stands for needs."""
    values = [_assigned(node).get("_backends") for node in stand_in.body if isinstance(node, ast.Assign)]
    named = next((literal(value) for value in values if value is not None), ())
    return tuple(name for name in named if isinstance(name, str)) if isinstance(named, list | tuple) else ()


def _assigned(node: ast.Assign) -> dict[str, ast.expr]:
    return {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}


def _extended(node: ast.Assign, known: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """Return the tables that an assignment such as ``TABLE["key"] = value`` makes longer, as lists of their parts."""
    return {
        target.value.id: ast.List([known[target.value.id], ast.Tuple([target.slice, node.value])])
        for target in node.targets
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id in known
    }


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name: what is inherited, whichever way it was imported."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
