"""Read the inputs, components and outputs of blocks from their steps, for blocks whose docstring does not list them.

A step lists its inputs in the property ``inputs``, its outputs in ``intermediate_outputs`` and its components in
``expected_components``. Outputs of earlier steps are not inputs of the blocks. Of alternative steps only one runs, so their
inputs are optional.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from octabox.catalog.reading.docstrings import ParameterDoc
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, literal

#: Attribute with the steps of blocks.
STEPS = "block_classes"

#: Base classes of blocks whose steps are alternatives.
CONDITIONAL = re.compile(r"^(Auto|Conditional)\w*Blocks$")

#: Properties with the inputs, outputs and components of a step; loops have separate ones.
INPUTS, OUTPUTS = ("inputs", "loop_inputs"), ("intermediate_outputs", "loop_intermediate_outputs")
COMPONENTS = ("expected_components", "loop_expected_components")

#: Classes that describe the inputs, outputs and components of a step.
SPECS = re.compile(r"^(Input|Output)Param\b|^ComponentSpec\b")

#: Maximum depth of nested steps.
DEPTH = 12


@dataclass(frozen=True)
class BlockParam:
    """An input, output or component of a step, with its documentation."""

    name: str
    doc: ParameterDoc = field(default_factory=ParameterDoc)


@dataclass
class BlockFlow:
    """The inputs, final outputs, intermediate outputs and components of a sequence of steps."""

    inputs: dict[str, BlockParam] = field(default_factory=dict)
    outputs: dict[str, BlockParam] = field(default_factory=dict)
    produced: set[str] = field(default_factory=set)
    components: dict[str, BlockParam] = field(default_factory=dict)


def read_flow(tree: SourceTree, block: ClassSource, depth: int = DEPTH) -> BlockFlow:
    """Return the inputs and outputs of blocks."""
    steps = _steps(tree, block) if depth else []
    if not steps:
        outputs = {item.name: item for item in _items(tree, block, OUTPUTS)}
        inputs = {item.name: item for item in _items(tree, block, INPUTS)}
        return BlockFlow(inputs, outputs, set(outputs), {item.name: item for item in _items(tree, block, COMPONENTS)})
    flows = [read_flow(tree, step, depth - 1) for step in steps]
    is_conditional = any(CONDITIONAL.match(ancestor.name) for ancestor in tree.lineage(block)[1:])
    found = _merge_alternatives(flows) if is_conditional else _merge_sequence(flows)
    for item in _items(tree, block, ("loop_inputs",)):
        found.inputs.setdefault(item.name, item)
    for item in _items(tree, block, ("loop_expected_components",)):
        found.components.setdefault(item.name, item)
    return found


def _merge_sequence(flows: list[BlockFlow]) -> BlockFlow:
    """Merge the flows of steps that run in sequence."""
    merged = BlockFlow()
    for each in flows:
        for name, item in each.inputs.items():
            known = merged.inputs.get(name)
            if name not in merged.produced and (known is None or (known.doc.optional and not item.doc.optional)):
                merged.inputs[name] = item
        merged.produced |= each.produced
        merged.components = {**each.components, **merged.components}
        merged.outputs = each.outputs or merged.outputs
    return merged


def _merge_alternatives(flows: list[BlockFlow]) -> BlockFlow:
    """Merge the flows of steps of which one or none runs."""
    merged = BlockFlow()
    for each in flows:
        for name, item in each.inputs.items():
            merged.inputs.setdefault(name, replace(item, doc=replace(item.doc, optional=True)))
        merged.outputs = {**each.outputs, **merged.outputs}
        merged.produced |= each.produced
        merged.components = {**each.components, **merged.components}
    return merged


def _steps(tree: SourceTree, block: ClassSource) -> list[ClassSource]:
    """Return the classes of the steps of a block, in order."""
    owner = next((each for each in tree.lineage(block) if STEPS in each.values), None)
    if owner is None:
        return []
    names = _names(tree, owner.module, owner.values[STEPS])
    found = (tree.find(name, near=owner) for name in dict.fromkeys(names))
    return [each for each in found if each is not None and each.name != block.name]


def _names(tree: SourceTree, module: str, node: ast.AST, depth: int = 3) -> Iterator[str]:
    """Yield the names in an expression in order; constants are replaced by the names in their values."""
    if isinstance(node, ast.Name):
        source, original = module, node.id
        if original not in tree.constants.get(source, {}) and source in tree.modules:
            source, original = tree.modules[source].imports.get(node.id, (source, original))
        value = tree.constants.get(source, {}).get(original)
        if value is None or not depth:
            yield node.id
        else:
            yield from _names(tree, source, value, depth - 1)
        return
    for child in ast.iter_child_nodes(node):
        yield from _names(tree, module, child, depth)


def _items(tree: SourceTree, block: ClassSource, properties: tuple[str, ...]) -> Iterator[BlockParam]:
    """Yield the items in the properties of a step, from calls such as ``InputParam("height", type_hint=int)``."""
    defaults = _attribute_defaults(tree, block)
    for name in properties:
        located = tree.function(block, name)
        for node in ast.walk(located[1]) if located else ():
            if isinstance(node, ast.Call) and (item := _item(node, defaults)):
                yield item


def _attribute_defaults(tree: SourceTree, block: ClassSource) -> dict[str, object]:
    """Return the values of attributes that the constructor of a step sets from its defaults."""
    located = tree.function(block, "__init__")
    if located is None:
        return {}
    arguments = located[1].args
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    defaults = {each.arg: literal(value) for each, value in zip(with_default, arguments.defaults, strict=True)}
    return {
        target.attr: defaults[node.value.id]
        for node in ast.walk(located[1])
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in defaults
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }


def _item(call: ast.Call, defaults: Mapping[str, object]) -> BlockParam | None:
    """Return the item that a call describes; None for other calls and for unknown names."""
    if not SPECS.match(ast.unparse(call.func)):
        return None
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    arguments |= dict(zip(("name", "type_hint"), call.args, strict=False))
    value = arguments.get("name")
    name = defaults.get(value.attr) if isinstance(value, ast.Attribute) else literal(value)
    if not isinstance(name, str):
        return None
    kind = arguments.get("type_hint")
    default = arguments.get("default")
    text = literal(arguments.get("description"))
    doc = ParameterDoc(
        type="" if kind is None or literal(kind) == "Any" else ast.unparse(kind),
        optional=literal(arguments.get("required")) is not True,
        default="" if default is None or literal(default) is None else ast.unparse(default).strip("'\""),
        text=" ".join(text.split()) if isinstance(text, str) else "",
    )
    return BlockParam(name, doc)
