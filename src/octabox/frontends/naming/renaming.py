"""Errors and warnings in the words of a client, whose names of parameters may differ from those of diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from octabox.errors import InvalidRequestError, OctaboxError

#: A parameter at the beginning of a message.
_QUOTED = re.compile(r"^'(\w+)'")

#: Another parameter in the reason of a warning, such as ``with 'guidance_scale' 1``, and words of such a warning.
_REASON, _NO_EFFECT = re.compile(r"(?:(?<=with )|(?<=without )|(?<=this )|(?<=and ))'(\w+)'"), "has no effect"

#: What precedes a value of the request that a message repeats.
_VALUE = re.compile(r", not |\bone of ")

#: Fields that set several parameters, or one in another unit: a message names the parameter too.
COMPOUND = frozenset({"size", "target_size", "seconds"})


def rename_warnings(warnings: Iterable[str], client_names: Mapping[str, str]) -> list[str]:
    """Return warnings with the client's names of the parameters that they begin with or give as a reason, each once.

    Args:
        warnings: Warnings such as ``'width' has no effect with 'height' 1.``.
        client_names: The client's names, by parameter.
    """

    def client_name(name: re.Match[str]) -> str:
        return f"'{client_names.get(name[1], name[1])}'"

    renamed = (
        _REASON.sub(client_name, each) if _NO_EFFECT in each else each
        for each in (_QUOTED.sub(client_name, warning, 1) for warning in warnings)
    )
    return list(dict.fromkeys(renamed))


@contextmanager
def rename_error_params(client_names: Mapping[str, str]) -> Iterator[None]:
    """Replace the parameters of an error raised within the context by the client's names of them.

    Args:
        client_names: The client's names, by parameter.
    """
    try:
        yield
    except OctaboxError as error:
        rename_error(error, client_names)
        raise


def rename_error(error: OctaboxError, client_names: Mapping[str, str]) -> None:
    """Replace the parameter of an error, and of each of its problems, by the client's name: also in message and hint.

    Args:
        error: The error, which is changed.
        client_names: The client's names, by parameter.
    """
    if isinstance(error, InvalidRequestError):
        for problem in error.problems:
            rename_error(problem, client_names)
        error.restate()
        return
    name = error.parameter
    leading = _QUOTED.match(error.message)
    for each in dict.fromkeys([*([name] if name else []), *([leading[1]] if leading else [])]):
        if (client_name := client_names.get(each, each)) != each:
            is_part = client_name in COMPOUND
            error.message = _rename(error.message, each, client_name, is_part=is_part)
            error.hint = _rename(error.hint, each, client_name)
    if name is not None:
        error.parameter = client_names.get(name, name)


def _rename(text: str, name: str, client_name: str, *, is_part: bool = False) -> str:
    """Return a text with the client's name of a parameter, but not in the values that it repeats.

    Args:
        text: A message or a hint. It has a name in quotes, or without them at its beginning, or as what is needed.
        name: The parameter.
        client_name: The client's field.
        is_part: Whether the parameter is a part of the field, which the text then names in addition.
    """
    value = _VALUE.search(text)
    end = value.start() if value else len(text)
    escaped = re.escape(name)
    quoted, plain = (f"'{name}' of '{client_name}'", f"{name} of {client_name}") if is_part else ("", client_name)
    found = re.compile(rf"'{escaped}'|(?:^|(?<=needs )|(?<=Set )){escaped}\b")
    head = found.sub(lambda each: (quoted or f"'{client_name}'") if each[0][0] == "'" else plain, text[:end])
    return head + text[end:]
