"""Load prompt styles from JSON or from the CSV of the AUTOMATIC1111 web UI, and apply them to prompts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.errors import ConfigError, InvalidParameterError, nearest
from octabox.security.filesystem import read_file, walk_files
from octabox.security.nesting import check_text

#: Placeholder for the prompt in a style; without it the style is appended to the prompt.
PLACEHOLDER = "{prompt}"

#: Suffixes of files of styles.
SUFFIXES = frozenset({".json", ".csv"})

#: Keys of the negative prompt.
NEGATIVE = ("negative_prompt", "negative")

#: Key of SD.Next for settings in addition to the prompts.
EXTRA = "extra"

#: Keys that describe a style and have no effect.
ABOUT = ("name", "description", "preview", "filename", "mtime")


@dataclass(frozen=True)
class Style:
    """A style.

    Args:
        name: Its name.
        prompt: Template for the prompt.
        negative_prompt: Template for the negative prompt.
        extra: Other settings, in the syntax of SD.Next.
        unused: Names of unsupported fields.
    """

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    extra: str = ""
    unused: tuple[str, ...] = ()


def load_styles(path: Path) -> dict[str, Style]:
    """Load the styles of a file, or of all files in a folder, by name; a later file overrides an earlier one.

    Raises:
        ConfigError: A file cannot be read.
    """
    files = walk_files(path, SUFFIXES).files if path.is_dir() else (path,) if path.is_file() else ()
    return {style.name: style for file in files for style in _read(file)}


def _read(file: Path) -> list[Style]:
    try:
        text = read_file(file).decode("utf-8-sig")
        return _from_csv(text) if file.suffix.lower() == ".csv" else _from_json(json.loads(text), file.stem)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        hint = "Styles must be JSON, or CSV in the format of A1111."
        raise ConfigError(f"The styles in {file} cannot be read: {error}.", hint=hint) from error


def _from_csv(text: str) -> list[Style]:
    """Parse ``name,prompt,negative_prompt``; older files name the prompt ``text``."""
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    texts = ({key: value for key, value in row.items() if key} for row in rows)
    return [
        _style(row["name"].strip(), {**row, "prompt": row.get("prompt") or row.get("text"), "text": None})
        for row in texts
        if (row.get("name") or "").strip()
    ]


def _from_json(data: Any, name: str) -> list[Style]:
    """Parse one style, a list of styles, or styles or their prompts by name."""
    if isinstance(data, list):
        return [style for each in data for style in _from_json(each, name)]
    if not isinstance(data, dict):
        raise ValueError("a style must be a JSON object")  # noqa: TRY004 (content of a file, not an argument)
    if "prompt" in data or any(key in data for key in NEGATIVE):
        return [_style(str(data.get("name") or name), data)]
    return [
        style
        for key, each in data.items()
        for style in ([Style(key, each)] if isinstance(each, str) else _from_json(each, key))
    ]


def _style(name: str, data: Mapping[str, Any]) -> Style:
    """Return a style from its fields."""
    negative = next((data[key] for key in NEGATIVE if data.get(key)), "")
    used = {"prompt", *NEGATIVE, EXTRA, *ABOUT}
    unused = tuple(key for key, value in data.items() if key not in used and value)
    return Style(name, str(data.get("prompt") or ""), str(negative), str(data.get(EXTRA) or ""), unused)


def select_styles(names: Iterable[str], known: Mapping[str, Style]) -> list[Style]:
    """Return the styles with these names.

    Raises:
        InvalidParameterError: A style does not exist.
    """
    names = tuple(names)
    for name in names:
        if name not in known:
            close = nearest(name, known)
            hint = f"Did you mean '{close[0]}'?" if close else f"There are {', '.join(sorted(known)[:20]) or 'none'}."
            raise InvalidParameterError(
                f"There is no style '{name}'.", hint=hint, parameter="styles", choices=sorted(known)
            )
    return [known[name] for name in names]


def apply_style(text: str, templates: Iterable[str], parameter: str) -> str:
    """Return a prompt with the templates of styles applied in order.

    Args:
        text: The prompt.
        templates: The templates. Each may have the prompt several times, so that its length can double with each.
        parameter: The parameter of the prompt.

    Raises:
        InvalidParameterError: The prompt becomes longer than any model reads.
    """
    for template in templates:
        if PLACEHOLDER in template:
            text = template.replace(PLACEHOLDER, text)
        else:
            text = ", ".join(
                part for part in (text.strip(" ,") if template.strip() else text, template.strip()) if part
            )
        check_text(text, parameter)
    return text
