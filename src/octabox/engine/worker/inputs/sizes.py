"""Check the sizes that a call asks for against the loaded pipeline's own multiples, before anything is computed."""

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

#: What an expression for a multiple is made of.
OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def check_sizes(pipe: Any, entry: PipelineEntry, params: Mapping[str, Any]) -> None:
    """Refuse sizes that a pipeline would refuse or round, and name the nearest good ones.

    Raises:
        InvalidParameterError: A size is no multiple of what the pipeline works in.
        InvalidRequestError: Several are none.
    """
    problems: list[RequestError] = []
    for rule in entry.sizes:
        multiple = rule.multiple or evaluated(rule.expression, pipe)
        for name in rule.parameters:
            value = params.get(name)
            if multiple and isinstance(value, int) and (value - rule.offset) % multiple:
                problems.append(_odd(entry, rule, name, value, multiple))
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]


def _odd(entry: PipelineEntry, rule: SizeRule, name: str, value: int, multiple: int) -> InvalidParameterError:
    below = (value - rule.offset) // multiple * multiple + rule.offset
    good = [size for size in (below, below + multiple) if size > 0]
    more = f", plus {rule.offset}" if rule.offset else ""
    return InvalidParameterError(
        f"{entry.name} works in multiples of {multiple}{more}, and '{name}' is {value}.",
        hint=f"The nearest are {' and '.join(map(str, good))}.",
        parameter=name,
        choices=map(str, good),
    )


def evaluated(expression: str, pipe: Any) -> int | None:
    """Return the value of an expression over a pipeline's attributes, None where it has none."""
    try:
        value = _value(ast.parse(expression, mode="eval").body, pipe)
    except (SyntaxError, AttributeError, TypeError, ValueError, ZeroDivisionError, LookupError):
        return None
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def _value(node: ast.expr, pipe: Any) -> Any:
    """Return the value of a node; names are the pipeline's attributes, and nothing is called."""
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


def other_sizes(
    params: Mapping[str, Any], products: Sequence[OutputItem], pipe: Any, entry: PipelineEntry
) -> list[str]:
    """Return a sentence where a pipeline made images of another size than it was asked for, or, by binning, than its own."""
    made = next((size for product in products if (size := _size(product)) is not None), None)
    asked = params.get("width"), params.get("height")
    own = _own_size(pipe) if asked == (None, None) and entry.binning else None
    wanted = asked if None not in asked else own
    if made is None or wanted is None or wanted == made:
        return []
    words = "was asked for" if wanted == asked else "is the model's own size"
    return [f"{wanted[0]}x{wanted[1]} {words}, and the pipeline made {made[0]}x{made[1]}."]


def _own_size(pipe: Any) -> tuple[int, int] | None:
    """Return the size that a pipeline works in by itself, as most name it; None where this one does not."""
    side, scale = getattr(pipe, "default_sample_size", None), getattr(pipe, "vae_scale_factor", None)
    return (side * scale, side * scale) if isinstance(side, int) and isinstance(scale, int) else None


def _size(product: OutputItem) -> tuple[int, int] | None:
    if isinstance(product.value, Video):
        return product.value.frames[0].size
    return product.value.size if isinstance(product.value, Image) else None
