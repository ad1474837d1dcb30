"""Read what blocks take, need and give from the steps that they are built of, where their own docstring does not say.

A step lists what it takes in its property ``inputs``, what it gives in ``intermediate_outputs`` and what it is made of
in ``expected_components``. What an earlier step gives, nobody has to bring. Of steps that are alternatives, only one runs:
what one of them needs and the others do not, may be left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from octabox.catalog.reading.docstrings import ParameterDoc
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, literal

#: Attribute that lists the steps of blocks.
STEPS = "block_classes"

#: Bases of blocks whose steps are alternatives.
CHOOSING = re.compile(r"^(Auto|Conditional)\w*Blocks$")

#: Properties that list what is taken, what is given, and what it takes to do it; a loop has some of its own.
INPUTS, OUTPUTS = ("inputs", "loop_inputs"), ("intermediate_outputs", "loop_intermediate_outputs")
COMPONENTS = ("expected_components", "loop_expected_components")

#: Classes by which a step describes its items.
DESCRIBES = re.compile(r"^(Input|Output)Param\b|^ComponentSpec\b")

#: How deep steps may stand inside each other.
DEPTH = 12


@dataclass(frozen=True)
class BlockParam:
    """One thing that a step takes, gives or is made of, with what its source says of it."""

    name: str
    doc: ParameterDoc = field(default_factory=ParameterDoc)


@dataclass
class BlockFlow:
    """What a row of steps takes from outside, what it gives at its end and on its way, and what it is made of."""

    inputs: dict[str, BlockParam] = field(default_factory=dict)
    outputs: dict[str, BlockParam] = field(default_factory=dict)
    produced: set[str] = field(default_factory=set)
    components: dict[str, BlockParam] = field(default_factory=dict)


def read_flow(tree: SourceTree, block: ClassSource, depth: int = DEPTH) -> BlockFlow:
    """Return what goes into blocks and what comes out."""
    steps = _steps(tree, block) if depth else []
    if not steps:
        outputs = {item.name: item for item in _items(tree, block, OUTPUTS)}
        inputs = {item.name: item for item in _items(tree, block, INPUTS)}
        return BlockFlow(inputs, outputs, set(outputs), {item.name: item for item in _items(tree, block, COMPONENTS)})
    flows = [read_flow(tree, step, depth - 1) for step in steps]
    chooses = any(CHOOSING.match(ancestor.name) for ancestor in tree.lineage(block)[1:])
    found = _either(flows) if chooses else _in_turn(flows)
    for item in _items(tree, block, ("loop_inputs",)):
        found.inputs.setdefault(item.name, item)
    for item in _items(tree, block, ("loop_expected_components",)):
        found.components.setdefault(item.name, item)
    return found


def _in_turn(flows: list[BlockFlow]) -> BlockFlow:
    """Return the flow through steps one after the other."""
    whole = BlockFlow()
    for each in flows:
        for name, item in each.inputs.items():
            known = whole.inputs.get(name)
            if name not in whole.produced and (known is None or (known.doc.optional and not item.doc.optional)):
                whole.inputs[name] = item
        whole.produced |= each.produced
        whole.components = {**each.components, **whole.components}
        whole.outputs = each.outputs or whole.outputs
    return whole


def _either(flows: list[BlockFlow]) -> BlockFlow:
    """Return the flow through one of several steps, or through none."""
    whole = BlockFlow()
    for each in flows:
        for name, item in each.inputs.items():
            whole.inputs.setdefault(name, replace(item, doc=replace(item.doc, optional=True)))
        whole.outputs = {**each.outputs, **whole.outputs}
        whole.produced |= each.produced
        whole.components = {**each.components, **whole.components}
    return whole


def _steps(tree: SourceTree, block: ClassSource) -> list[ClassSource]:
    """Return the classes of a block's steps, in order."""
    owner = next((each for each in tree.lineage(block) if STEPS in each.values), None)
    if owner is None:
        return []
    names = _names(tree, owner.module, owner.values[STEPS])
    found = (tree.find(name, near=owner) for name in dict.fromkeys(names))
    return [each for each in found if each is not None and each.name != block.name]


def _names(tree: SourceTree, module: str, node: ast.AST, depth: int = 3) -> Iterator[str]:
    """Yield the names in an expression in order, those of constants replaced by the names in what they stand for."""
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
    """Yield what the properties of a step list by calls such as ``InputParam("height", type_hint=int)``."""
    usual = _usual(tree, block)
    for name in properties:
        located = tree.function(block, name)
        for node in ast.walk(located[1]) if located else ():
            if isinstance(node, ast.Call) and (item := _item(node, usual)):
                yield item


def _usual(tree: SourceTree, block: ClassSource) -> dict[str, object]:
    """Return what a step has for its settings, such as the name of its output, where it is made without any."""
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


def _item(call: ast.Call, usual: Mapping[str, object]) -> BlockParam | None:
    """Return what a call describes; None where it is another call, or has no name that can be known."""
    if not DESCRIBES.match(ast.unparse(call.func)):
        return None
    said = {keyword.arg: keyword.value for keyword in call.keywords}
    said |= dict(zip(("name", "type_hint"), call.args, strict=False))
    called = said.get("name")
    name = usual.get(called.attr) if isinstance(called, ast.Attribute) else literal(called)
    if not isinstance(name, str):
        return None
    kind = said.get("type_hint")
    default = said.get("default")
    text = literal(said.get("description"))
    words = ParameterDoc(
        type="" if kind is None or literal(kind) == "Any" else ast.unparse(kind),
        optional=literal(said.get("required")) is not True,
        default="" if default is None or literal(default) is None else ast.unparse(default).strip("'\""),
        text=" ".join(text.split()) if isinstance(text, str) else "",
    )
    return BlockParam(name, words)
