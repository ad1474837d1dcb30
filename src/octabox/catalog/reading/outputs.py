"""Read the output fields of a pipeline, and the kind of its primary output.

The output class is in the annotation of ``__call__``; for older classes only in its docstring or its ``return``.
"""

from __future__ import annotations

import ast
import re

from octabox.catalog.entries import Field
from octabox.catalog.reading.annotations import Shape, read_annotation
from octabox.catalog.reading.docstrings import parse_arguments, parse_section
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function
from octabox.types import Kind

#: Base class of the outputs of diffusers.
OUTPUT = "BaseOutput"

#: Kind of a field by its name, in the order in which the patterns are tried.
NAMES: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"embed|latent|sampling_rate|^negative_|detected|^c2w$"), "array"),
    (re.compile(r"(^|_)(frames|videos?|video_frames)$"), "video"),
    (re.compile(r"(^|_)(audios?|sound|waveforms?)$"), "audio"),
    (re.compile(r"(^|_)(texts?|sequences|prompts)$"), "text"),
    (re.compile(r"(^|_)(mesh|meshes)$"), "mesh"),
    (re.compile(r"(^|_)(rgb|images?|depth)$"), "image"),
)


def output_fields(tree: SourceTree, holder: ClassSource, call: Function) -> tuple[Field, ...]:
    """Return the fields of the output of a call."""
    for name in _candidates(call):
        output = tree.find(name, near=holder)
        if output and any(ancestor.name == OUTPUT or OUTPUT in ancestor.bases for ancestor in tree.lineage(output)):
            return _fields(tree, output)
    return ()


def field_kind(name: str, shape: Shape, words: str = "") -> Kind:
    """Return the kind of a field."""
    for pattern, kind in NAMES:
        if pattern.search(name):
            return kind
    if "image" in shape.leaves or re.search(r"\bPIL\b", words):
        return "image"
    return "text" if shape.leaves == {"text"} else "array"


def primary_kind(fields: tuple[Field, ...]) -> Kind | None:
    """Return the kind of the primary output: the first field that is a file, else the first field."""
    kinds = [field.kind for field in fields if field.kind]
    for kind in ("video", "image", "audio", "mesh", "text"):
        if kind in kinds:
            return kind
    return kinds[0] if kinds else None


def _candidates(call: Function) -> list[str]:
    """Return the names of possible output classes of a call, the most certain first."""
    annotated = [node.id for node in ast.walk(call.returns) if isinstance(node, ast.Name)] if call.returns else []
    doc = (ast.get_docstring(call) or "").partition("Returns:")[2]
    documented = re.findall(r"(\w+)`?\]?", doc)
    returned = [
        node.value.func.id
        for node in ast.walk(call)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
    ]
    return [*annotated, *returned, *(name for name in documented if name.endswith("Output"))]


def _fields(tree: SourceTree, output: ClassSource) -> tuple[Field, ...]:
    found: dict[str, Field] = {}
    for ancestor in reversed(tree.lineage(output)):
        words = {**parse_section(ancestor.doc, "Attributes"), **parse_arguments(ancestor.doc)}
        for name, annotation in ancestor.fields.items():
            text = words[name].text if name in words else ""
            shape = read_annotation(annotation, tree.alias)
            found[name] = Field(name, ast.unparse(annotation), field_kind(name, shape, text), text)
    return tuple(found.values())
