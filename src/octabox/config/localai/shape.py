"""Translate LocalAI's configuration of a diffusers model key by key, by the rules of ``keys.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.config.localai.keys import table
from octabox.config.localai.rules import RULES
from octabox.config.localai.translation import Translation
from octabox.config.problems import KeyPath, Location, format_value
from octabox.errors import nearest

#: Types of values and their description, by the table's name.
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "list": ((list,), "a list"),
    "mapping": ((dict,), "a mapping (key: value)"),
}


def translate(
    data: Mapping[str, Any], file: Path, locations: Mapping[KeyPath, Location], root: KeyPath = ()
) -> Translation:
    """Translate a configuration; each key becomes a field or a problem."""
    translation = Translation(file, {}, locations, root)
    _flatten(data, translation)
    for key, spec in table()["keys"].items():
        if translation.source.get(key) is not None and _check_type(translation, key, spec["is"]):
            _apply(translation, key, spec)
    _check_together(translation)
    return translation


def _flatten(data: Mapping[str, Any], translation: Translation) -> None:
    """Flatten the keys of LocalAI's sections with dots, and report unknown keys."""
    known = table()["keys"]
    sections = {key.partition(".")[0] for key in known if "." in key}
    for key, value in data.items():
        if key in sections and isinstance(value, dict):
            translation.source |= {f"{key}.{inner}": inner_value for inner, inner_value in value.items()}
        elif key in sections and value is not None:
            translation.report(key, f"`{key}` must be a mapping (key: value), not {format_value(value)}.")
        elif key not in sections:
            translation.source[key] = value
    for key in translation.source:
        if key in table()["other_kinds_of_model"]:
            translation.warn(key, "it is for language and speech models")
        elif key not in known:
            _report_unknown(translation, key)


def _report_unknown(translation: Translation, key: str) -> None:
    """Report a key that LocalAI does not have; a warning, since LocalAI ignores it."""
    section, _, name = key.rpartition(".")
    # Of two keys with one name, that of the same section is more likely meant, so it comes last.
    candidates = sorted(table()["keys"], key=lambda known: known.rpartition(".")[0] == section)
    by_name = {known.rpartition(".")[2]: known for known in candidates}
    similar = nearest(name, by_name, count=1)
    hint = f"did you mean {by_name[similar[0]]}?" if similar else ""
    translation.report(key, f"LocalAI's configuration has no key `{key}`.", hint, "warning")


def _check_type(translation: Translation, key: str, type_name: str) -> bool:
    """Return whether a value has the type of its key, and report it if not."""
    value = translation.source[key]
    types, description = _TYPES[type_name]
    if isinstance(value, types) and (type_name == "bool" or not isinstance(value, bool)):
        return True
    hint = f'write "{value}"' if type_name == "text" and isinstance(value, bool | int | float) else ""
    translation.report(key, f"`{key}` must be {description}, not {format_value(value)}.", hint)
    return False


def _apply(translation: Translation, key: str, spec: Mapping[str, Any]) -> None:
    """Translate a key by its rule in the table."""
    value = translation.source[key]
    if "empty" in spec and value == spec["empty"]:
        return
    if "to" in spec:
        translation.put(tuple(spec["to"].split(".")), spec.get("words", {}).get(value, value), key)
    elif "by" in spec:
        RULES[spec["by"]](translation, key, value)
    elif "with" in spec and translation.source.get(spec["with"]) in (None, "", []):
        translation.warn(key, f"`{spec['with']}` is not set")
    elif "unused" in spec and value:
        translation.warn(key, spec["unused"])


def _check_together(translation: Translation) -> None:
    """Check keys that depend on each other."""
    fields = translation.fields
    if not translation.served:
        return
    if "model" not in fields and "parameters.model" not in translation.source:
        translation.report("parameters", "`parameters.model` is missing.", "set it to a Hub id, a folder or a file")
    if fields.get("dtype") == "float16" and fields.get("device") == "cpu":
        key = translation.origins["dtype",]
        reason = "float16 on a CPU is slow, and some models cannot run in it at all"
        translation.report(key, f"`{key}` selects float16 without an accelerator.", reason, "warning")
