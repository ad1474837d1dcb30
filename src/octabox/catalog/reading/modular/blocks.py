"""Read the inputs, components and outputs of a modular pipeline, from the docstring or the steps of its default blocks."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import replace

from octabox.catalog.entries import Component, Field, Parameter
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.reading.docstrings import ParameterDoc, parse_section
from octabox.catalog.reading.modular.steps import BlockParam, read_flow
from octabox.catalog.reading.outputs import field_kind
from octabox.catalog.reading.parameters import parameter_from_doc, to_json_value
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource

#: Attribute of a modular pipeline with the class name of its blocks.
DEFAULT_BLOCKS = "default_blocks_name"

#: Attribute of blocks that maps their workflows to required inputs.
WORKFLOWS = "_workflow_map"

COMPONENT = re.compile(r"(\w+)\s+\(`([^`]*)`\)")


def default_blocks(tree: SourceTree, owner: ClassSource) -> ClassSource | None:
    """Return the default blocks of a modular pipeline; None if there are none."""
    name = tree.value(owner, DEFAULT_BLOCKS)
    return tree.find(name, near=owner) if isinstance(name, str) else None


def block_parameters(tree: SourceTree, blocks: ClassSource, common: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """Return the inputs of blocks; an input without a type has the most common type of its name in other pipelines."""
    found = parse_section(blocks.doc, "Inputs") or _docs(read_flow(tree, blocks).inputs)
    inputs = [_parameter(name, doc, common.get(name)) for name, doc in found.items()]
    always = _always_required(tree, blocks)
    return tuple(replace(each, required=_is_required(each, always)) for each in inputs)


def block_components(tree: SourceTree, blocks: ClassSource) -> tuple[Component, ...]:
    """Return the components of blocks."""
    listed = re.search(r"Components:\n(.*?)(?:\n\s*\n|\Z)", blocks.doc, re.DOTALL)
    if listed:
        return tuple(Component(name, annotation) for name, annotation in COMPONENT.findall(listed[1]))
    return tuple(Component(name, doc.type) for name, doc in _docs(read_flow(tree, blocks).components).items())


def block_outputs(tree: SourceTree, blocks: ClassSource) -> tuple[Field, ...]:
    """Return the outputs of blocks."""
    found = parse_section(blocks.doc, "Outputs") or _docs(read_flow(tree, blocks).outputs)
    return tuple(
        Field(name, doc.type, field_kind(name, parse_annotation(doc.type), doc.text), doc.text)
        for name, doc in found.items()
    )


def _always_required(tree: SourceTree, blocks: ClassSource) -> frozenset[str] | None:
    """Return the inputs that all workflows of blocks require; None if they declare no workflows."""
    known = tree.value(blocks, WORKFLOWS)
    needs = [frozenset(each) for each in known.values() if isinstance(each, dict)] if isinstance(known, dict) else []
    return frozenset.intersection(*needs) if needs else None


def _is_required(parameter: Parameter, always: frozenset[str] | None) -> bool:
    """Return whether a request must set a parameter; arrays that a block requires usually come from an earlier block."""
    if always is not None:
        return parameter.name in always
    return parameter.required and (parameter.is_media or parameter.kind == "text")


def _docs(items: Mapping[str, BlockParam]) -> dict[str, ParameterDoc]:
    return {name: item.doc for name, item in items.items()}


def workflow_names(tree: SourceTree, blocks: ClassSource) -> tuple[str, ...]:
    """Return the names of the workflows of blocks."""
    known = tree.value(blocks, WORKFLOWS)
    return tuple(known) if isinstance(known, dict) else ()


def _parameter(name: str, doc: ParameterDoc, common: Parameter | None) -> Parameter:
    default, is_literal = _default(doc.default)
    found = parameter_from_doc(name, doc, default=default)
    if not doc.type and common is not None:
        found = replace(
            found,
            kind=common.kind,
            many=common.many,
            choices=common.choices,
            annotation=common.annotation,
            description=found.description or common.description,
        )
    # Docstrings have no quotes: for a text parameter the words are the default, for others they describe it.
    return replace(found, literal=is_literal or found.kind in ("text", "choice", "internal"))


def _default(text: str) -> tuple[object, bool]:
    """Return the default in a docstring, and whether it is a literal value."""
    try:
        return (to_json_value(ast.literal_eval(text)) if text else None), True
    except (SyntaxError, ValueError):
        return text, False
