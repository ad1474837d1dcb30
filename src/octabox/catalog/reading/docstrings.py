"""Parse the descriptions of parameters in docstrings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

#: First line of a section of parameters or fields.
SECTION = re.compile(
    r"^(?P<indent>[ ]*)(?P<title>Args|Arguments|Parameters|Inputs|Outputs|Returns|Attributes|Components):[ ]*$"
)

#: First line of a parameter: its name, its type in parentheses, and usually a colon, which may come before the type too.
ENTRY = re.compile(r"^(?P<indent>[ ]*)`?(?P<name>\*{0,2}\w+)`?:?[ ]*\((?P<type>.*?)\)?[ ]*(?::(?P<rest>.*))?$")

#: The same without a type.
PLAIN = re.compile(r"^(?P<indent>[ ]*)(?P<name>\w+):(?P<rest>.*)$")

TYPE = re.compile(r"`([^`]+)`")

#: A shape in a description, such as ``[channels, samples]`` in backticks, and names of an axis of channels.
SHAPE = re.compile(r"`[\[(](\w+(?:\s*,\s*\w+)+)[\])]`")
CHANNELS = re.compile(r"(^|_)(c|ch|channels?)$", re.IGNORECASE)

#: Placeholders for missing descriptions in diffusers.
EMPTY = re.compile(r"^TODO\b.*$")


@dataclass(frozen=True)
class ParameterDoc:
    """The documentation of one parameter.

    Args:
        type: Its type, as an annotation; empty if there is none.
        optional: Whether it is documented as optional.
        default: Text of its default.
        text: Its description, on one line.
    """

    type: str = ""
    optional: bool = False
    default: str = ""
    text: str = ""


def parse_section(doc: str, *titles: str) -> dict[str, ParameterDoc]:
    """Return the documentation of each name in the sections with these titles."""
    found: dict[str, ParameterDoc] = {}
    lines = doc.splitlines()
    for start, line in enumerate(lines):
        head = SECTION.match(line)
        if head and head["title"] in titles:
            found.update(_entries(_block(lines[start + 1 :], len(head["indent"]))))
    return found


def parse_arguments(doc: str) -> dict[str, ParameterDoc]:
    """Return the documentation of each argument."""
    return parse_section(doc, "Args", "Arguments", "Parameters")


def documented_axes(text: str) -> tuple[str, ...]:
    """Return the names of the axes in the first shape of a description; none if it states no shape."""
    found = SHAPE.search(text)
    return tuple(name.strip() for name in found[1].split(",")) if found else ()


def has_channels_first(text: str) -> bool:
    """Return whether a description states a shape of two axes of which the first are channels."""
    axes = documented_axes(text)
    return len(axes) == 2 and bool(CHANNELS.search(axes[0]))  # noqa: PLR2004 (channels and samples)


def first_sentence(doc: str) -> str:
    """Return the first sentence of a docstring."""
    paragraph = re.split(r"\n\s*\n|(?:^|\n)\s*(?:Args|Parameters|Supported workflows):", doc.strip())[0]
    text = " ".join(paragraph.split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`\[])", text)[0]


def _block(lines: Iterable[str], indent: int) -> list[str]:
    """Return the lines that are indented deeper than ``indent``."""
    block: list[str] = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line)
    return textwrap.dedent("\n".join(block)).splitlines()


def _entries(block: list[str]) -> dict[str, ParameterDoc]:
    found: dict[str, ParameterDoc] = {}
    name, kind, text = "", "", [""]
    for line in [*_join_lines(block), "end:"]:
        entry = ENTRY.match(line) or PLAIN.match(line)
        if not entry or entry["indent"]:
            text.append(line.strip())
            continue
        if name:
            found.setdefault(name, _parameter_doc(kind, text))
        name, kind, text = (
            entry["name"].strip("*"),
            entry.groupdict().get("type") or "",
            [(entry["rest"] or "").strip()],
        )
    return found


def _join_lines(block: list[str]) -> list[str]:
    """Return the lines, with entries whose parentheses close on a later line joined into one line."""
    lines: list[str] = []
    for line in block:
        open_entry = (
            bool(lines) and re.match(r"^`?\w+`?[ ]*\(`", lines[-1]) and lines[-1].count("(") > lines[-1].count(")")
        )
        if open_entry and line.strip():
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"
        else:
            lines.append(line)
    return lines


def _parameter_doc(kind: str, text: list[str]) -> ParameterDoc:
    types = [found for found in TYPE.findall(re.split("optional|defaults to", kind, maxsplit=1)[0]) if found != "None"]
    default = re.search(r"defaults? to\s+(.*)$", kind)
    words = " ".join(" ".join(text).split())
    return ParameterDoc(
        type=" | ".join(types),
        optional="optional" in kind,
        default=default[1].strip(" `\"'") if default else "",
        text="" if EMPTY.match(words) else words,
    )
