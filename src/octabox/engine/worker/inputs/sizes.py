"""Check the requested sizes against the multiples of the loaded pipeline, before anything is computed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Image

from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.engine.worker.outputs.items import OutputItem
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError
from octabox.media.video import Video

#: Operators of expressions for a multiple.
OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def check_sizes(pipe: Any, entry: PipelineEntry, params: Mapping[str, Any]) -> None:
    """Check that sizes are multiples of what a pipeline requires, which would raise or round them.

    Raises:
        InvalidParameterError: A size is not such a multiple.
        InvalidRequestError: Several are not.
    """
    problems: list[RequestError] = []
    for rule in entry.sizes:
        multiple = rule.multiple or evaluate_expression(rule.expression, pipe)
        for name in rule.parameters:
            value = params.get(name)
            if multiple and isinstance(value, int) and (value - rule.offset) % multiple:
                problems.append(_size_error(entry, rule, name, value, multiple))
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]


def _size_error(entry: PipelineEntry, rule: SizeRule, name: str, value: int, multiple: int) -> InvalidParameterError:
    below = (value - rule.offset) // multiple * multiple + rule.offset
    nearest = [size for size in (below, below + multiple) if size > 0]
    offset = f", plus {rule.offset}" if rule.offset else ""
    return InvalidParameterError(
        f"'{name}' must be a multiple of {multiple}{offset} for {entry.name}, not {value}.",
        hint=f"The nearest are {' and '.join(map(str, nearest))}.",
        parameter=name,
        choices=map(str, nearest),
    )


def evaluate_expression(expression: str, pipe: Any) -> int | None:
    """Return the value of an expression over a pipeline's attributes; None if it has none."""
    try:
        value = _value(ast.parse(expression, mode="eval").body, pipe)
    except (SyntaxError, AttributeError, TypeError, ValueError, ZeroDivisionError, LookupError):
        return None
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def _value(node: ast.expr, pipe: Any) -> Any:
    """Return the value of a node; a name is an attribute of the pipeline, and calls are not supported."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return pipe if node.id == "self" else getattr(pipe, node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, pipe), node.attr)
    if isinstance(node, ast.Subscript):
        return _value(node.value, pipe)[_value(node.slice, pipe)]
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left, pipe), _value(node.right, pipe))
    raise ValueError(ast.dump(node))


def size_warnings(params: Mapping[str, Any], items: Sequence[OutputItem], pipe: Any, entry: PipelineEntry) -> list[str]:
    """Return a warning if the images of a pipeline have another size than requested, or, by binning, than its default."""
    actual = next((size for item in items if (size := _size(item)) is not None), None)
    requested = params.get("width"), params.get("height")
    default = _default_size(pipe) if requested == (None, None) and entry.binning else None
    expected = requested if None not in requested else default
    if actual is None or expected is None or expected == actual:
        return []
    reason = "was requested" if expected == requested else "is the model's default size"
    return [f"{expected[0]}x{expected[1]} {reason}, and the pipeline made {actual[0]}x{actual[1]}."]


def _default_size(pipe: Any) -> tuple[int, int] | None:
    """Return the default size of a pipeline by the attributes that most have; None if this one does not."""
    side, scale = getattr(pipe, "default_sample_size", None), getattr(pipe, "vae_scale_factor", None)
    return (side * scale, side * scale) if isinstance(side, int) and isinstance(scale, int) else None


def _size(item: OutputItem) -> tuple[int, int] | None:
    if isinstance(item.value, Video):
        return item.value.frames[0].size
    return item.value.size if isinstance(item.value, Image) else None
