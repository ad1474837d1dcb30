"""Parse a source file into its classes, functions, imports and assignments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

#: Metaclass of placeholder classes, which diffusers defines for missing optional dependencies.
PLACEHOLDER_METACLASS = "DummyObject"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class ClassSource:
    """A class in source.

    Args:
        name: Its name.
        module: Dotted name of its module.
        bases: Names of its base classes, without their modules.
        doc: Its docstring.
        values: Class attributes.
        fields: Annotated names, in order.
        functions: Methods and properties.
        mentions: All names and attributes in its methods.
        imports: Names that its module imports, with their module and original name.
        last_layer: Hidden layer of text encoders that its methods use where they skip none, counted from the end; 0 if unknown.
        checks_latents: Whether its methods distinguish latents from an image by the number of channels.
        is_dataclass: Whether it has the decorator ``dataclass``.
        defaults: Defaults of its annotated names.
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
    last_layer: int = 0
    checks_latents: bool = False
    is_dataclass: bool = False
    defaults: Mapping[str, ast.expr] = field(default_factory=dict)


@dataclass(frozen=True)
class ModuleSource:
    """A module in source.

    Args:
        classes: Its classes.
        constants: Assignments at module level.
        backends: Backends that a class needs, by class name, from its placeholder class.
        functions: Names and attributes in each of its functions.
        imports: Names that it imports, with their module and original name.
        foreign: Names that are imported from other packages, with the package.
    """

    classes: tuple[ClassSource, ...]
    constants: Mapping[str, ast.expr]
    backends: Mapping[str, tuple[str, ...]]
    functions: Mapping[str, frozenset[str]]
    imports: Mapping[str, tuple[str, str]]
    foreign: Mapping[str, str]


def read_module(text: bytes, module: str, *, is_package: bool) -> ModuleSource:
    """Parse a source file.

    Args:
        text: Its content.
        module: Dotted name of its module.
        is_package: Whether the module is a package.

    Raises:
        SyntaxError, ValueError: The file is not valid Python.
    """
    tree = ast.parse(text)
    imports = _imports(tree, module, is_package=is_package)
    classes: list[ClassSource] = []
    constants: dict[str, ast.expr] = {}
    backends: dict[str, tuple[str, ...]] = {}
    functions: dict[str, frozenset[str]] = {}
    for node in _top_level(tree):
        if isinstance(node, ast.ClassDef):
            if any(
                keyword.arg == "metaclass" and _last(keyword.value) == PLACEHOLDER_METACLASS
                for keyword in node.keywords
            ):
                backends[node.name] = _backends(node)
            else:
                classes.append(_class_source(node, module, imports))
        elif isinstance(node, Function):
            functions[node.name] = frozenset(_mentions(ast.walk(node)))
        elif isinstance(node, ast.Assign):
            constants.update(_assigned(node))
            constants.update(_extended(node, constants))
    return ModuleSource(tuple(classes), constants, backends, functions, imports, _foreign(tree, module))


def is_none(node: ast.expr | None) -> bool:
    """Return whether an expression is None."""
    return isinstance(node, ast.Constant) and node.value is None


def literal(node: ast.expr | None) -> object:
    """Return the value of a literal, or None."""
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError):
        return None


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, including those in ``if``, ``try``, ``else`` and ``with`` blocks."""
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
    defaults: dict[str, ast.expr] = {}
    functions: dict[str, Function] = {}
    mentions: set[str] = set()
    checks_latents = False
    for part in node.body:
        if isinstance(part, ast.Assign):
            values.update(_assigned(part))
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            fields[part.target.id] = part.annotation
            defaults.update({part.target.id: part.value} if part.value else {})
        elif isinstance(part, Function):
            functions[part.name] = part
            nodes = [*ast.walk(part)]
            mentions.update(_mentions(nodes))
            checks_latents = checks_latents or any(map(_is_latent_check, nodes))
    bases = tuple(_last(base) for base in node.bases)
    return ClassSource(
        node.name,
        module,
        bases,
        ast.get_docstring(node) or "",
        values,
        fields,
        _kept_methods(functions),
        frozenset(mentions),
        imports,
        _last_layer(functions.values()) if SKIPPED_LAYERS in mentions else 0,
        checks_latents,
        any(_last(each.func if isinstance(each, ast.Call) else each) == "dataclass" for each in node.decorator_list),
        defaults,
    )


#: The variable that holds the source image in a pipeline, and the numbers of channels that are not those of latents.
IMAGE, COLOURS = "image", {1, 3}


def _is_latent_check(node: ast.AST) -> bool:
    """Return whether an expression is like ``image.shape[1] == 4``."""
    if not (isinstance(node, ast.Compare) and isinstance(node.left, ast.Subscript)):
        return False
    size, other = node.left, node.comparators[0]
    if ast.unparse(size) != f"{IMAGE}.shape[1]":
        return False
    return not (isinstance(other, ast.Constant) and other.value in COLOURS)


#: Parameter for the number of skipped layers of text encoders.
SKIPPED_LAYERS = "clip_skip"


def _last_layer(functions: Iterable[Function]) -> int:
    """Return the number in an index such as ``hidden_states[-(clip_skip + 2)]``; 0 if there is none."""
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.UnaryOp):
                index = node.slice.operand
                if (
                    isinstance(index, ast.BinOp)
                    and isinstance(index.op, ast.Add)
                    and _last(index.left) == SKIPPED_LAYERS
                ):
                    number = literal(index.right)
                    return number if isinstance(number, int) else 0
    return 0


#: Methods whose body is read later. Of other methods only the names are kept, to save memory.
KEPT_METHODS = re.compile(
    r"^(__call__|__init__|from_single_file|check_\w+|inputs|intermediate_outputs|expected_components|loop_\w+|set_timesteps|step)$"
)


def _kept_methods(functions: Mapping[str, Function]) -> dict[str, Function]:
    return {name: function for name, function in functions.items() if KEPT_METHODS.match(name)}


def _mentions(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield all names and attributes in the nodes of a function, and "import x" for each package that it imports."""
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f"import {package}" for package in _imported(node).values())


def _foreign(tree: ast.Module, module: str) -> dict[str, str]:
    """Return the names that a module imports from other packages, with the package."""
    found: dict[str, str] = {}
    for node in _top_level(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(_imported(node))
    return {name: package for name, package in found.items() if package != module.partition(".")[0]}


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return the names that an import statement binds, with the package of each."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: alias.name.partition(".")[0] for alias in node.names}
    if node.level or not node.module:
        return {}
    return {alias.asname or alias.name: node.module.partition(".")[0] for alias in node.names}


def _backends(placeholder: ast.ClassDef) -> tuple[str, ...]:
    """Return the backends that a placeholder class lists."""
    values = [_assigned(node).get("_backends") for node in placeholder.body if isinstance(node, ast.Assign)]
    names = next((literal(value) for value in values if value is not None), ())
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list | tuple) else ()


def _assigned(node: ast.Assign) -> dict[str, ast.expr]:
    return {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}


def _extended(node: ast.Assign, known: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """Return the constants that an assignment such as ``TABLE["key"] = value`` extends, as lists of their parts."""
    return {
        target.value.id: ast.List([known[target.value.id], ast.Tuple([target.slice, node.value])])
        for target in node.targets
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id in known
    }


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
