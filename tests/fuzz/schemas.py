"""Values of a JSON Schema: most are right, others are at an edge, beyond it, or of another type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

#: Values that no schema has.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [10**400, -1, 0, 2**63, "\0", "data:image/png;base64,aGk=", "http://xn--/x.png", "__x__", "<lora:x:1>"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

#: Limits of numbers in a schema.
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")

#: Largest number that is drawn where a schema has no limit: larger images and longer runs are not what is looked for.
MAX_NUMBER = 96

#: How deep a schema that contains itself is followed.
MAX_DEPTH = 6


def values_of(
    schema: Any, names: st.SearchStrategy[str], definitions: Mapping[str, Any] | None = None, depth: int = 0
) -> st.SearchStrategy[Any]:
    """Return values of a schema, which fit it but for a few.

    Args:
        schema: The schema.
        names: Texts where a schema does not state them.
        definitions: What its references refer to.
        depth: How many schemas it is a part of.
    """
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return JSON
    definitions = {**(definitions or {}), **schema.get("$defs", {})}
    if "$ref" in schema:
        return values_of(definitions[schema["$ref"].rpartition("/")[2]], names, definitions, depth + 1)

    def inner(each: Any) -> st.SearchStrategy[Any]:
        return values_of(each, names, definitions, depth + 1)

    options = [inner(each) for key in ("anyOf", "oneOf") for each in schema.get(key, ())]
    if "enum" in schema or "const" in schema:
        options.append(st.sampled_from([*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]))
    elif kind := schema.get("type"):
        options.append(_values_of_type(kind, schema, names, inner))
    return st.one_of(*options) if options else JSON


def _values_of_type(kind: str, schema: Mapping[str, Any], names: st.SearchStrategy[str], inner: Any) -> Any:
    """Return values of a type."""
    if kind == "object":
        properties = {name: inner(each) for name, each in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties")
        extra = st.dictionaries(names, inner(more) if isinstance(more, dict) else JSON, max_size=3 if more else 0)
        required = {name: each for name, each in properties.items() if name in schema.get("required", ())}
        optional = {name: each for name, each in properties.items() if name not in required}
        return st.builds(lambda some, others: {**others, **some}, some_of(required, optional), extra)
    if kind == "array":
        items = schema.get("items") or next(iter(schema.get("prefixItems", ())), None)
        return st.lists(inner(items), min_size=schema.get("minItems", 0), max_size=max(3, schema.get("minItems", 0)))
    if kind in {"integer", "number"}:
        bounds = [schema[key] for key in _BOUNDS if key in schema and abs(schema[key]) <= MAX_NUMBER]
        near = [value + step for value in bounds for step in (-1, 0, 1)]
        return st.sampled_from([0, 1, 2, 8, 64, *near, *([0.5, 1.5] if kind == "number" else [])])
    return {"boolean": st.booleans(), "null": st.none()}.get(kind, names)


@st.composite
def some_of(
    draw: st.DrawFn, required: Mapping[str, Any], optional: Mapping[str, st.SearchStrategy[Any]], most: int = 4
) -> dict[str, Any]:
    """Draw an object with its required keys and a few of the others, of which one in eight has any value."""
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=most, unique=True)) if optional else []
    found = {name: draw(each) for name, each in required.items()}
    found |= {name: draw(optional[name]) for name in names}
    return {name: draw(JSON) if draw(st.integers(0, 7)) == 7 else value for name, value in found.items()}
