"""Read the example of a call: the frame rate at which it writes the video.

A pipeline without a parameter for the frame rate was trained at one rate, which only its example states, as in
``export_to_video(video, "output.mp4", fps=8)``. The example is in the docstring of the call, or in a constant that a decorator
such as ``replace_example_docstring`` inserts there.
"""

from __future__ import annotations

import ast
import doctest
import re
import textwrap
from collections.abc import Iterator

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function, literal

#: Functions that write a video or an animation, and their argument for the frame rate.
EXPORT, RATE = re.compile(r"(^|_)(video|gif)$"), "fps"

#: Code between fences.
FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


def example_frame_rate(tree: SourceTree, owner: ClassSource, call: Function) -> float | None:
    """Return the frames per second of the video that the example of a call writes last; None if it states none.

    Args:
        tree: The source of the package.
        owner: The class that defines the call.
        call: The call.
    """
    rates = [rate for text in _examples(tree, owner, call) if RATE in text for rate in _rates(text)]
    return rates[-1] if rates else None


def _examples(tree: SourceTree, owner: ClassSource, call: Function) -> Iterator[str]:
    """Yield the docstrings of a class and of its call, and the constants that decorators of the call insert."""
    yield owner.doc
    yield ast.get_docstring(call) or ""
    for decorator in call.decorator_list:
        for argument in decorator.args if isinstance(decorator, ast.Call) else ():
            if isinstance(argument, ast.Name):
                module, name = owner.imports.get(argument.id, (owner.module, argument.id))
                text = literal(tree.constants.get(module, {}).get(name))
                yield text if isinstance(text, str) else ""


def _rates(text: str) -> Iterator[float]:
    """Yield the frame rate of each call in an example that writes a video."""
    known: dict[str, object] = {}
    for node in _statements(text):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = literal(node.value)
        for call in (each for each in ast.walk(node) if isinstance(each, ast.Call) and _exports(each)):
            argument = next((each.value for each in call.keywords if each.arg == RATE), None)
            rate = known.get(argument.id) if isinstance(argument, ast.Name) else literal(argument)
            if isinstance(rate, int | float) and rate > 0:
                yield float(rate)


def _exports(call: ast.Call) -> bool:
    """Return whether a call writes a video."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    return bool(EXPORT.search(name))


def _statements(text: str) -> Iterator[ast.stmt]:
    """Yield the statements of the code in a docstring: after ``>>>``, or between fences; code that is not valid is skipped."""
    try:
        sources = [each.source for each in doctest.DocTestParser().get_examples(text)]
    except ValueError:
        sources = []
    for source in sources or map(textwrap.dedent, FENCED.findall(text)):
        try:
            yield from ast.parse(source).body
        except (SyntaxError, ValueError):
            continue
