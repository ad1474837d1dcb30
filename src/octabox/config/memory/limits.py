"""How many bytes of each device, and of the host, models may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize, TypeAdapter, ValidationError

#: Name of the host's memory.
HOST = "host"

#: Name of all devices that have no limit themselves.
DEVICES = "devices"

_SIZES = TypeAdapter(ByteSize)

#: The form of a size.
_SIZE = re.compile(r"[0-9.]+\s*[A-Za-z]*")


def parse_limits(value: Any) -> Mapping[str, int]:
    """Return the limits by place, from a mapping, from text such as ``cuda:0=20GiB,host=16GiB``, or from one size.

    Raises:
        ValueError: A size is not valid, or a place has two.
    """
    if isinstance(value, str) and "=" in value:
        pairs = [part.partition("=")[::2] for part in value.split(",") if part.strip()]
        value = {name.strip(): size for name, size in pairs}
        if len(value) < len(pairs):
            raise ValueError("must have one size for each place")
    if not isinstance(value, Mapping):
        return {} if value is None else {DEVICES: parse_size(value)}
    return {str(name): parse_size(size) for name, size in value.items()}


def limit_of(limits: Mapping[str, int], place: str) -> int | None:
    """Return the limit of a place: its own, that of its type, or that of all devices; None if it has none.

    Args:
        limits: The limits.
        place: ``host``, or a device such as ``cuda:0``.
    """
    names = (place,) if place == HOST else (place, place.partition(":")[0], DEVICES)
    return next((limits[name] for name in names if name in limits), None)


def parse_size(value: Any) -> int:
    """Return the bytes of a size such as ``20GiB``.

    Raises:
        ValueError: It is not a size above 0.
    """
    text = value.strip() if isinstance(value, str) else None
    try:
        # Pydantic ignores what follows a size.
        size = -1 if text is not None and not _SIZE.fullmatch(text) else int(_SIZES.validate_python(text or value))
    except ValidationError:
        size = -1
    if size <= 0 or isinstance(value, bool):
        raise ValueError("must be a size such as 20GiB, or sizes by place such as cuda:0=20GiB,host=16GiB")
    return size


#: Limits in the settings.
MemoryLimits = Annotated[Mapping[str, int], BeforeValidator(parse_limits)]
