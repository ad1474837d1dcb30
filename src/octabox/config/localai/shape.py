"""LocalAI's configuration of a diffusers model, translated key by key as ``keys.yaml`` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.config.localai.keys import table
from octabox.config.localai.rules import RULES
from octabox.config.localai.translation import Translation
from octabox.config.problems import KeyPath, Place, shown
from octabox.errors import nearest

#: Types of values, by the table's word.
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "list": ((list,), "a list"),
    "mapping": ((dict,), "a mapping (key: value)"),
}


def translate(data: Mapping[str, Any], file: Path, places: Mapping[KeyPath, Place], root: KeyPath = ()) -> Translation:
    """Translate one configuration; every key of it ends up in a field or in a problem."""
    translation = Translation(file, {}, places, root)
    _flatten(data, translation)
    for key, spec in table()["keys"].items():
        if translation.source.get(key) is not None and _right_type(translation, key, spec["is"]):
            _apply(translation, key, spec)
    _check_together(translation)
    return translation


def _flatten(data: Mapping[str, Any], translation: Translation) -> None:
    """Spell keys inside LocalAI's sections with a dot, and report keys that are not LocalAI's."""
    known = table()["keys"]
    sections = {key.partition(".")[0] for key in known if "." in key}
    for key, value in data.items():
        if key in sections and isinstance(value, dict):
            translation.source |= {f"{key}.{inner}": inner_value for inner, inner_value in value.items()}
        elif key in sections and value is not None:
            translation.report(key, f"`{key}` must be a mapping (key: value), not {shown(value)}.")
        elif key not in sections:
            translation.source[key] = value
    for key in translation.source:
        if key in table()["other_kinds_of_model"]:
            translation.warn(key, "it is for models that write text or speak")
        elif key not in known:
            _report_unknown(translation, key)


def _report_unknown(translation: Translation, key: str) -> None:
    """Report a key that LocalAI has not either; LocalAI ignores such a key, so the model is served all the same."""
    section, _, name = key.rpartition(".")
    # Of two keys of one name, that of the same section is the likelier, so it comes last.
    candidates = sorted(table()["keys"], key=lambda known: known.rpartition(".")[0] == section)
    by_name = {known.rpartition(".")[2]: known for known in candidates}
    like = nearest(name, by_name, count=1)
    hint = f"did you mean {by_name[like[0]]}?" if like else ""
    translation.report(key, f"`{key}` is no key of LocalAI's configuration.", hint, "warning")


def _right_type(translation: Translation, key: str, kind: str) -> bool:
    """Tell whether a value has the type of its key, and report it if not."""
    value = translation.source[key]
    types, words = _TYPES[kind]
    if isinstance(value, types) and (kind == "bool" or not isinstance(value, bool)):
        return True
    hint = f'write "{value}"' if kind == "text" and isinstance(value, bool | int | float) else ""
    translation.report(key, f"`{key}` must be {words}, not {shown(value)}.", hint)
    return False


def _apply(translation: Translation, key: str, spec: Mapping[str, Any]) -> None:
    """Do with a key what the table says."""
    value = translation.source[key]
    if "empty" in spec and value == spec["empty"]:
        return
    if "to" in spec:
        translation.put(spec["to"], spec.get("words", {}).get(value, value), key)
    elif "by" in spec:
        RULES[spec["by"]](translation, key, value)
    elif "with" in spec and translation.source.get(spec["with"]) in (None, "", []):
        translation.warn(key, f"`{spec['with']}` is not given")
    elif "unused" in spec and value:
        translation.warn(key, spec["unused"])


def _check_together(translation: Translation) -> None:
    """Report what only the whole configuration shows."""
    fields = translation.fields
    if not translation.served:
        return
    if "model" not in fields and "parameters.model" not in translation.source:
        translation.report("parameters", "`parameters.model` is missing.", "give a Hub id, a folder or a file")
    if fields.get("dtype") == "float16" and fields.get("device") == "cpu":
        key = translation.origins["dtype",]
        reason = "float16 on a processor is slow, and some models cannot run in it at all"
        translation.report(key, f"`{key}` asks for float16 without an accelerator.", reason, "warning")
