"""Read a modular pipeline: what its default blocks take, need and give, as their docstring says, or else their steps."""

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

#: Attribute of a modular pipeline that names its blocks.
DEFAULT_BLOCKS = "default_blocks_name"

#: Attribute of blocks that names what they can do, and what each needs.
WORKFLOWS = "_workflow_map"

COMPONENT = re.compile(r"(\w+)\s+\(`([^`]*)`\)")


def default_blocks(tree: SourceTree, owner: ClassSource) -> ClassSource | None:
    """Return the class of a modular pipeline's blocks."""
    name = tree.value(owner, DEFAULT_BLOCKS)
    return tree.find(name, near=owner) if isinstance(name, str) else None


def block_parameters(tree: SourceTree, blocks: ClassSource, usual: Mapping[str, Parameter]) -> tuple[Parameter, ...]:
    """Return what blocks take; where nothing says of which type, it is that of the name in most pipelines."""
    found = parse_section(blocks.doc, "Inputs") or _words(read_flow(tree, blocks).inputs)
    taken = [_parameter(name, words, usual.get(name)) for name, words in found.items()]
    always = _always_needed(tree, blocks)
    return tuple(replace(each, required=_is_needed(each, always)) for each in taken)


def block_components(tree: SourceTree, blocks: ClassSource) -> tuple[Component, ...]:
    """Return what blocks are made of."""
    listed = re.search(r"Components:\n(.*?)(?:\n\s*\n|\Z)", blocks.doc, re.DOTALL)
    if listed:
        return tuple(Component(name, annotation) for name, annotation in COMPONENT.findall(listed[1]))
    return tuple(Component(name, words.type) for name, words in _words(read_flow(tree, blocks).components).items())


def block_outputs(tree: SourceTree, blocks: ClassSource) -> tuple[Field, ...]:
    """Return what blocks give back."""
    found = parse_section(blocks.doc, "Outputs") or _words(read_flow(tree, blocks).outputs)
    return tuple(
        Field(name, words.type, field_kind(name, parse_annotation(words.type), words.text), words.text)
        for name, words in found.items()
    )


def _always_needed(tree: SourceTree, blocks: ClassSource) -> frozenset[str] | None:
    """Return what all that blocks can do needs; None where they do not say."""
    known = tree.value(blocks, WORKFLOWS)
    needs = [frozenset(each) for each in known.values() if isinstance(each, dict)] if isinstance(known, dict) else []
    return frozenset.intersection(*needs) if needs else None


def _is_needed(parameter: Parameter, always: frozenset[str] | None) -> bool:
    """Return whether a request must give a parameter; the numbers that a block asks for are mostly made by one before it."""
    if always is not None:
        return parameter.name in always
    return parameter.required and (parameter.is_media or parameter.kind == "text")


def _words(items: Mapping[str, BlockParam]) -> dict[str, ParameterDoc]:
    return {name: item.doc for name, item in items.items()}


def workflow_names(tree: SourceTree, blocks: ClassSource) -> tuple[str, ...]:
    """Return the names of what blocks can do, as diffusers calls it."""
    known = tree.value(blocks, WORKFLOWS)
    return tuple(known) if isinstance(known, dict) else ()


def _parameter(name: str, words: ParameterDoc, usual: Parameter | None) -> Parameter:
    default, is_literal = _default(words.default)
    own = parameter_from_doc(name, words, default=default)
    if not words.type and usual is not None:
        own = replace(
            own,
            kind=usual.kind,
            many=usual.many,
            choices=usual.choices,
            annotation=usual.annotation,
            description=own.description or usual.description,
        )
    # A docstring puts no quotes around words: of a text they are the default, of anything else they only tell of it.
    return replace(own, literal=is_literal or own.kind in ("text", "choice", "internal"))


def _default(text: str) -> tuple[object, bool]:
    """Return the value that a docstring writes, and whether it is one."""
    try:
        return (to_json_value(ast.literal_eval(text)) if text else None), True
    except (SyntaxError, ValueError):
        return text, False
