"""Read the parameters of a call or of a constructor: name, type, default, kind, and the docstring's words.

What a parameter takes (its kind) is decided by its annotation, or by the type in its docstring where it has none. Where
that leaves open whether it is an image, a video, an audio or an array of numbers, a word of its name decides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from octabox.catalog.entries import MEDIA, Parameter, ParameterKind
from octabox.catalog.reading.annotations import Shape, parse_annotation, read_annotation
from octabox.catalog.reading.docstrings import ParameterDoc, parse_arguments
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function, literal

#: Words of a name that tell what its tensor or list of images is.
MASK = re.compile(r"(^|_)masks?(_|$)")
VIDEO = re.compile(r"(^|_)(video|videos|frames)$")
AUDIO = re.compile(r"(^|_)(audio|audios|waveform|waveforms|speech|sound)$")
IMAGE = re.compile(r"(^|_)(image|images|controls|keyframes)$")

#: Words of a name that make it numbers for a model, and no file, whatever else stands in it.
NUMBERS = re.compile(r"latent|embed|attention|feature|hidden|noise|_codes|atom|padding_mask|mask_token")

#: Parameters that shape the answer in Python, which is for Octabox to decide.
INTERNAL = re.compile(r"^return_(dict|index)$|^output_type$|^callback_(steps|on_step_end)|callback_on_step_end")

#: Order in which a union is given one kind: the richer wins, for the plainer can mostly be made into it.
SCALARS: tuple[ParameterKind, ...] = ("text", "mapping", "number", "integer", "boolean")


def call_parameters(tree: SourceTree, owner: ClassSource, function: Function) -> tuple[Parameter, ...]:
    """Return what a function takes, without ``self`` and what only ``*args`` and ``**kwargs`` would take."""
    words = parse_arguments(ast.get_docstring(function) or "")
    for ancestor in tree.lineage(owner):
        if function.name == "__init__":
            words = {**parse_arguments(ancestor.doc), **words}
            break
    found = [_parameter(tree, argument, default, words) for argument, default in _signature(function)]
    kinds = {parameter.kind for parameter in found}
    # Where there is an audio and no image, a mask of numbers says which stretches of the audio are meant.
    return tuple(_of_audio(each) if "audio" in kinds and not kinds & {"image", "video"} else each for each in found)


def _of_audio(parameter: Parameter) -> Parameter:
    """Return a mask that is no image as the array that it is; any other parameter as it is."""
    is_array = parameter.kind == "mask" and parse_annotation(parameter.annotation).leaves <= {"array"}
    return replace(parameter, kind="array") if is_array else parameter


def parameter_from_doc(name: str, words: ParameterDoc, *, default: object = None) -> Parameter:
    """Return a parameter of which only a docstring is known."""
    shape = parse_annotation(words.type)
    kind = _kind(name, shape, default)
    return Parameter(
        name=name,
        annotation=words.type,
        kind=kind,
        required=not words.optional,
        default=default,
        many=_many(kind, shape),
        choices=shape.choices,
        description=words.text,
    )


def _signature(function: Function) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield every named argument with its default."""
    spoken = function.args
    positional = [*spoken.posonlyargs, *spoken.args]
    defaults = [None] * (len(positional) - len(spoken.defaults)) + list(spoken.defaults)
    yield from list(zip(positional, defaults, strict=True))[1:]
    yield from zip(spoken.kwonlyargs, spoken.kw_defaults, strict=True)


def _parameter(
    tree: SourceTree, argument: ast.arg, default: ast.expr | None, known: Mapping[str, ParameterDoc]
) -> Parameter:
    words = known.get(argument.arg, ParameterDoc())
    annotation = ast.unparse(argument.annotation) if argument.annotation else words.type
    shape = read_annotation(argument.annotation, tree.alias) if argument.annotation else parse_annotation(words.type)
    value = literal(default)
    is_literal = default is None or value is not None or _is_none(default)
    kind = _kind(argument.arg, shape, value)
    return Parameter(
        name=argument.arg,
        annotation=annotation,
        kind=kind,
        required=default is None or _needed(kind, shape, default, words),
        default=to_json_value(value) if is_literal else ast.unparse(default or ast.Constant(None)),
        literal=is_literal,
        many=_many(kind, shape) or (kind in MEDIA and _many(kind, parse_annotation(words.type))),
        choices=shape.choices,
        description=words.text,
    )


def _needed(kind: ParameterKind, shape: Shape, default: ast.expr, words: ParameterDoc) -> bool:
    """Return whether a file is needed though its default is None: where neither type nor words call it optional."""
    is_file = kind in ("image", "mask", "video", "audio")
    return is_file and _is_none(default) and not shape.none and not words.optional


def _kind(name: str, shape: Shape, default: object) -> ParameterKind:
    if INTERNAL.search(name):
        return "callback" if "callback" in shape.leaves else "internal"
    leaves = shape.leaves
    for ours in ("generator", "callback"):
        if ours in leaves:
            return ours
    if shape.choices:
        return "choice"
    media = _media(name, shape)
    if media:
        return media
    if leaves & {"array"} and not leaves & {"text"}:
        return "array"
    return next((kind for kind in SCALARS if kind in leaves), None) or _by_default(default)


def _media(name: str, shape: Shape) -> ParameterKind | None:
    """Return which sort of file a parameter takes; None where it takes none."""
    leaves = shape.leaves
    # A type that says no more than "a list" leaves it to the name, but frames may be counted or chosen too.
    is_vague = not leaves and not name.endswith("frames")
    if not (is_vague or leaves & {"image", "array"}) or NUMBERS.search(name):
        return None
    if AUDIO.search(name):
        return "audio"
    if VIDEO.search(name):
        return "video"
    if MASK.search(name):
        return "mask"
    if "image" in leaves or IMAGE.search(name):
        return "image"
    return None


def _many(kind: ParameterKind, shape: Shape) -> bool:
    # A video is a list of images by itself.
    return shape.depth > (1 if kind == "video" else 0)


def _by_default(default: object) -> ParameterKind:
    kinds: dict[type, ParameterKind] = {bool: "boolean", int: "integer", float: "number", str: "text", dict: "mapping"}
    return kinds.get(type(default), "any")


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def to_json_value(value: object) -> object:
    """Return a value as JSON would give it back."""
    if isinstance(value, list | tuple | set):
        return [to_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
