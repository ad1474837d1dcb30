"""Settings that have an effect only with certain values of others, as their fields declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: Key of a field's declaration.
ONLY_WITH = "only_with"


def only_with(**settings: Any) -> dict[str, Any]:
    """Return the declaration of a field that has an effect only with these values of other settings."""
    return {ONLY_WITH: settings}


def conditions_of(field: FieldInfo) -> Mapping[str, Any]:
    """Return the values of other settings that a setting requires to have an effect."""
    extra = field.json_schema_extra
    declared = extra.get(ONLY_WITH) if isinstance(extra, dict) else None
    return declared if isinstance(declared, dict) else {}


def find_ineffective(settings: BaseModel, sources: Mapping[str, str]) -> list[str]:
    """Return a warning for each setting that another one makes ineffective; those with their default have none.

    Args:
        settings: The settings.
        sources: Where settings come from, by name.
    """
    warnings = []
    for name, field in type(settings).model_fields.items():
        if getattr(settings, name) == field.get_default(call_default_factory=True):
            continue
        start = f"{sources[name]}: " if name in sources else ""
        for other, value in conditions_of(field).items():
            if (actual := getattr(settings, other)) != value:
                needed = f"it needs `{other}: {_format(value)}`"
                warnings.append(f"{start}`{name}` has no effect with `{other}: {_format(actual)}`; {needed}.")
    return warnings


def _format(value: object) -> str:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
