"""Types of request fields."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from octabox.frontends.naming.parameters import ALIASES

Number = TypeVar("Number", int, float)


def _refuse_booleans(value: Any) -> Any:
    """Raise an error for a boolean, which pydantic would convert to 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 (pydantic reports only a ValueError)
    return value


#: A number that is not a boolean: ``StrictNumber[int]``, ``StrictNumber[float]``.
StrictNumber = Annotated[Number, BeforeValidator(_refuse_booleans)]


class ExtraFields(BaseModel):
    """Model that accepts fields it does not declare: they are call parameters."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    @property
    def extra_fields(self) -> dict[str, Any]:
        """The fields that are not declared and not null."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    @property
    def null_fields(self) -> dict[str, None]:
        """The fields that are not declared and null: optional parameters, which may have another default than None."""
        return {name: None for name, value in (self.model_extra or {}).items() if value is None and name not in ALIASES}
