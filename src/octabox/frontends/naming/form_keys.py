"""Lists and objects in the keys of a form, such as ``styles[]``, ``image[0]`` or ``workflow[hires][scale]``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from octabox.errors import InvalidParameterError
from octabox.security.nesting import MAX_DEPTH

#: Brackets behind the name of a list, without the position of the item or with it.
LIST = re.compile(r"\[(\d{0,9})\]$")

#: A name, and the keys behind it.
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")

#: The keys behind the name of a field; an empty one stands for the items of a list.
Path = tuple[str, ...]


def split_key(key: str) -> tuple[str, Path]:
    """Return the name of a field and the keys behind it; a key of another form is a name.

    Raises:
        InvalidParameterError: It has too many levels.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return key, ()
    path = tuple(match[2][1:-1].split("]["))
    if len(path) > MAX_DEPTH:
        name = match[1]
        message = f"'{name[:50]}' is nested more than {MAX_DEPTH} levels deep."
        raise InvalidParameterError(message, hint="Send it with fewer levels.", parameter=name)
    return match[1], path


def split_item(key: str) -> tuple[str, int | None]:
    """Return the name of a field of files, and the position of the file in it, if the key states one."""
    match = LIST.search(key)
    if match is None or not key[: match.start()]:
        return key, None
    return key[: match.start()], int(match[1]) if match[1] else None


def duplicate_error(name: str) -> InvalidParameterError:
    """Return the error for a field that a form repeats."""
    return InvalidParameterError(f"'{name}' is given twice.", hint="Send it once.", parameter=name)


def build_value(name: str, items: Sequence[tuple[Path, Any]]) -> Any:
    """Return the list or object that the parts of a form make together.

    Args:
        name: Name of the field, for errors.
        items: The keys behind the name and the value of each part, in their order.

    Raises:
        InvalidParameterError: A key is given twice, or it is not clear which object of a list a part belongs to.
    """
    if any(not path for path, _ in items):
        if len(items) > 1:
            raise duplicate_error(name)
        return items[0][1]
    groups: dict[str, list[tuple[Path, Any]]] = {}
    for (head, *rest), value in items:
        groups.setdefault(head, []).append((tuple(rest), value))
    if "" in groups:
        if len(groups) > 1:
            raise duplicate_error(name)
        return _build_list(name, groups[""])
    values = {head: build_value(f"{name}[{head}]", group) for head, group in groups.items()}
    positions = [str(position) for position in range(len(values))]
    # Some clients number the items of a list.
    return [values[position] for position in positions] if values.keys() == set(positions) else values


def _build_list(name: str, items: Sequence[tuple[Path, Any]]) -> list[Any]:
    """Return the list of the parts behind ``[]``: values, or objects whose keys are in one part each.

    OpenAI's client sends all values of the first key, then all of the next one. So the object of a value is known
    only if all objects have the same keys.
    """
    columns: dict[Path, list[Any]] = {}
    for path, value in items:
        columns.setdefault(path, []).append(value)
    counts = {len(values) for values in columns.values()}
    if len(counts) > 1 or any("" in path for path in columns):
        message = f"It is not clear which item of '{name}' each part belongs to."
        raise InvalidParameterError(message, hint="Send the list as JSON in one part.", parameter=name)
    rows = zip(*columns.values(), strict=True)
    return [build_value(f"{name}[]", list(zip(columns, row, strict=True))) for row in rows]
