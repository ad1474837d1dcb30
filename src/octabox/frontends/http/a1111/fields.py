"""Types of request fields: the web UI accepts numbers as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, model_validator


def _to_number(value: Any) -> Any:
    """Return the number of a text such as "1.0"; other values are validated as they are."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 (pydantic reports only a ValueError)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: An integer, or a text with one.
Count = Annotated[int, BeforeValidator(_to_number)]

#: A number, or a text with one; `Unbounded` may be infinite.
Number = Annotated[float, BeforeValidator(_to_number), AllowInfNan(False)]
Unbounded = Annotated[float, BeforeValidator(_to_number)]


def drop_null(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null, which means the default."""
    return {name: value for name, value in fields.items() if value is not None}


def asks_for_something(value: Any) -> bool:
    """Return whether arguments of a script ask for anything: a value that is not empty, false, zero or null, in any nesting."""
    if isinstance(value, Mapping):
        return any(map(asks_for_something, value.values()))
    if isinstance(value, list | tuple):
        return any(map(asks_for_something, value))
    return bool(value)


class LenientModel(BaseModel):
    """Model of a body: null means the default, and unknown fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, value: Any) -> Any:
        """Drop fields that are null."""
        return drop_null(value) if isinstance(value, Mapping) else value

    @property
    def unknown(self) -> dict[str, Any]:
        """The fields that are not declared."""
        return dict(self.model_extra or {})

    def has(self, name: str) -> bool:
        """Return whether the client has sent a field."""
        return name in self.model_fields_set


def unknown_warnings(body: LenientModel) -> list[str]:
    """Return a warning for each field that is not declared."""
    return [f"'{name[:60]}' has no effect: there is no such field." for name in body.unknown]
