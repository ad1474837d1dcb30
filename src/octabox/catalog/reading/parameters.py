"""Read the parameters of a call or a constructor: name, type, default, kind and description.

The kind of a parameter follows from its annotation or, if it has none, from the type in its docstring. If that leaves open
whether it is an image, a video, audio or an array, its name decides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from octabox.catalog.entries import MEDIA, Parameter, ParameterKind
from octabox.catalog.reading.annotations import ATOMS, Shape, parse_annotation, read_annotation
from octabox.catalog.reading.docstrings import ParameterDoc, parse_arguments, parse_section
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function, is_none, literal
from octabox.catalog.tasks import MASK

#: Parts of a name that decide the kind of a tensor or a list of images.
VIDEO = re.compile(r"(^|_)(video|videos|frames)$")
AUDIO = re.compile(r"(^|_)(audio|audios|waveform|waveforms|speech|sound)$")
IMAGE = re.compile(r"(^|_)(image|images|controls|keyframes)$")

#: Parts of a name that make the parameter an array for a model instead of a media file.
NUMBERS = re.compile(r"latent|embed|attention|feature|hidden|noise|_codes|atom|padding_mask|mask_token")

#: Parameters for the Python output, which Octabox sets.
INTERNAL = re.compile(r"^return_dict$|^output_type$|^callback_(steps|on_step_end)|callback_on_step_end")

#: Names of texts that are paths on the server: a request could otherwise make a pipeline read or write any file.
PATH = re.compile(r"(^|_)(file|filename|path|dir|directory|folder)$")

#: The call of a pipeline; parameters of constructors are components, never dataclasses of a request.
CALL = "__call__"

#: Order in which a union is reduced to one kind: the more general kind comes first.
SCALARS: tuple[ParameterKind, ...] = ("text", "mapping", "number", "integer", "boolean")


def call_parameters(tree: SourceTree, owner: ClassSource, function: Function) -> tuple[Parameter, ...]:
    """Return the parameters of a function, without ``self``, ``*args`` and ``**kwargs``."""
    docs = parse_arguments(ast.get_docstring(function) or "")
    for ancestor in tree.lineage(owner):
        if function.name == "__init__":
            docs = {**parse_arguments(ancestor.doc), **docs}
            break
    found = [_parameter(tree, argument, default, docs) for argument, default in _signature(function)]
    if function.name != "__init__":
        found = [replace(each, kind="path") if _is_path(each) else each for each in found]
    if function.name == CALL:
        found = [_with_fields(tree, owner, parameter) for parameter in found]
    kinds = {parameter.kind for parameter in found}
    if "video" in kinds:
        found = [_video_mask(each) for each in found]
    # With audio and without images, a mask is an array that selects parts of the audio.
    return tuple(_audio_mask(each) if "audio" in kinds and not kinds & {"image", "video"} else each for each in found)


def _is_path(parameter: Parameter) -> bool:
    return parameter.kind in ("text", "any") and PATH.search(parameter.name) is not None


def _with_fields(tree: SourceTree, owner: ClassSource, parameter: Parameter) -> Parameter:
    """Return a parameter whose annotation names a dataclass with the fields of it; others unchanged."""
    shape = parse_annotation(parameter.annotation)
    classes = (tree.find(name, near=owner) for name in sorted(shape.leaves - {*ATOMS.values()}))
    record = next((each for each in classes if each and each.is_dataclass and each.fields), None)
    if record is None:
        return parameter
    docs = parse_section(record.doc, "Attributes", "Args", "Arguments", "Parameters")
    found = [
        _parameter(tree, ast.arg(name, annotation), record.defaults.get(name), docs)
        for name, annotation in record.fields.items()
    ]
    many = shape.items is not None
    return replace(parameter, kind="mapping", many=many, fields=tuple(found), record=f"{record.module}.{record.name}")


def _video_mask(parameter: Parameter) -> Parameter:
    """Return a mask that is always a list, in addition to a video, as a video: one mask for each frame; others unchanged."""
    shape = parse_annotation(parameter.annotation)
    is_list = parameter.kind == "mask" and shape.items is not None and not shape.atoms
    return replace(parameter, kind="video", many=False) if is_list else parameter


def _audio_mask(parameter: Parameter) -> Parameter:
    """Return a mask of a tensor type as an array; any other parameter unchanged."""
    is_array = parameter.kind == "mask" and parse_annotation(parameter.annotation).leaves <= {"array"}
    return replace(parameter, kind="array") if is_array else parameter


def parameter_from_doc(name: str, doc: ParameterDoc, *, default: object = None) -> Parameter:
    """Return a parameter from its documentation alone."""
    shape = parse_annotation(doc.type)
    kind = _kind(name, shape, default)
    return Parameter(
        name=name,
        annotation=doc.type,
        kind=kind,
        required=not doc.optional,
        default=default,
        many=_many(kind, shape),
        choices=shape.choices,
        description=doc.text,
    )


def _signature(function: Function) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yield all named arguments with their defaults."""
    signature = function.args
    positional = [*signature.posonlyargs, *signature.args]
    defaults = [None] * (len(positional) - len(signature.defaults)) + list(signature.defaults)
    yield from list(zip(positional, defaults, strict=True))[1:]
    yield from zip(signature.kwonlyargs, signature.kw_defaults, strict=True)


def _parameter(
    tree: SourceTree, argument: ast.arg, default: ast.expr | None, docs: Mapping[str, ParameterDoc]
) -> Parameter:
    doc = docs.get(argument.arg, ParameterDoc())
    annotation = ast.unparse(argument.annotation) if argument.annotation else doc.type
    shape = read_annotation(argument.annotation, tree.alias) if argument.annotation else parse_annotation(doc.type)
    value = literal(default)
    is_literal = default is None or value is not None or is_none(default)
    kind = _kind(argument.arg, shape, value)
    return Parameter(
        name=argument.arg,
        annotation=annotation,
        kind=kind,
        required=default is None or _is_required(kind, shape, default, doc),
        default=to_json_value(value) if is_literal else ast.unparse(default or ast.Constant(None)),
        literal=is_literal,
        many=_many(kind, shape) or (kind in MEDIA and _many(kind, parse_annotation(doc.type))),
        choices=shape.choices,
        description=doc.text,
    )


def _is_required(kind: ParameterKind, shape: Shape, default: ast.expr, doc: ParameterDoc) -> bool:
    """Return whether a file with default None is required: neither its type nor its documentation makes it optional."""
    is_file = kind in ("image", "mask", "video", "audio")
    return is_file and is_none(default) and not shape.none and not doc.optional


def _kind(name: str, shape: Shape, default: object) -> ParameterKind:
    if INTERNAL.search(name):
        return "callback" if "callback" in shape.leaves else "internal"
    leaves = shape.leaves
    for internal in ("generator", "callback"):
        if internal in leaves:
            return internal
    if shape.choices:
        return "choice"
    media = _media(name, shape)
    if media:
        return media
    if leaves & {"array"} and not leaves & {"text"}:
        return "array"
    return next((kind for kind in SCALARS if kind in leaves), None) or _by_default(default)


def _media(name: str, shape: Shape) -> ParameterKind | None:
    """Return the media kind of a parameter; None if it takes no media."""
    leaves = shape.leaves
    # For a bare list the name decides, except for frames, which may be numbers.
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
    # A video is itself a list of images.
    return shape.depth > (1 if kind == "video" else 0)


def _by_default(default: object) -> ParameterKind:
    kinds: dict[type, ParameterKind] = {bool: "boolean", int: "integer", float: "number", str: "text", dict: "mapping"}
    return kinds.get(type(default), "any")


def to_json_value(value: object) -> object:
    """Return a value in the form that JSON restores."""
    if isinstance(value, list | tuple | set):
        return [to_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
