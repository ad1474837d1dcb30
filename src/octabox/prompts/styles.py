"""Lay styles over prompts: named pieces of text, from JSON or from the CSV of the AUTOMATIC1111 web UI."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.errors import ConfigError, InvalidParameterError, nearest

#: Where in a style the prompt goes; in one that has no such place, it goes before.
PLACEHOLDER = "{prompt}"

#: Keys by which files call the negative text.
NEGATIVE = ("negative_prompt", "negative")

#: The key of SD.Next for what a style sets beside its prompts.
EXTRA = "extra"

#: Keys that tell of a style, and change nothing that is made with it.
ABOUT = ("name", "description", "preview", "filename", "mtime")


@dataclass(frozen=True)
class Style:
    """A style.

    Args:
        name: What clients call it.
        prompt: What it makes of a prompt.
        negative_prompt: What it makes of a negative prompt.
        extra: What it sets beside them, as SD.Next writes it.
        unused: Other fields of it, that say something which is not known here.
    """

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    extra: str = ""
    unused: tuple[str, ...] = ()


def load_styles(place: Path) -> dict[str, Style]:
    """Return the styles of a file, or of all files of a folder, by name; of two of one name the later file's.

    Raises:
        ConfigError: A file cannot be read.
    """
    if place.is_dir():
        files = sorted(each for each in place.rglob("*") if each.suffix.lower() in (".json", ".csv"))
    else:
        files = [place] if place.is_file() else []
    return {style.name: style for file in files for style in _read(file)}


def _read(file: Path) -> list[Style]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        return _from_csv(text) if file.suffix.lower() == ".csv" else _from_json(json.loads(text), file.stem)
    except (OSError, ValueError, TypeError, csv.Error) as error:
        hint = "Styles are JSON, or CSV as A1111 has it."
        raise ConfigError(f"{file}: its styles cannot be read: {error}.", hint=hint) from error


def _from_csv(text: str) -> list[Style]:
    """Read ``name,prompt,negative_prompt``; files of older programs call the prompt ``text``."""
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    texts = ({key: value for key, value in row.items() if key} for row in rows)
    return [
        _style(row["name"].strip(), {**row, "prompt": row.get("prompt") or row.get("text"), "text": None})
        for row in texts
        if (row.get("name") or "").strip()
    ]


def _from_json(data: Any, name: str) -> list[Style]:
    """Read one style, a list of them, or styles by name."""
    if isinstance(data, list):
        return [style for each in data for style in _from_json(each, name)]
    if not isinstance(data, dict):
        raise ValueError("a style is a mapping (JSON object)")  # noqa: TRY004 (what a file holds, not an argument)
    if "prompt" in data or any(key in data for key in NEGATIVE):
        return [_style(str(data.get("name") or name), data)]
    return [style for key, each in data.items() for style in _from_json(each, str(key))]


def _style(name: str, data: Mapping[str, Any]) -> Style:
    """Return the style of these fields."""
    negative = next((data[key] for key in NEGATIVE if data.get(key)), "")
    used = {"prompt", *NEGATIVE, EXTRA, *ABOUT}
    unused = tuple(key for key, value in data.items() if key not in used and value)
    return Style(name, str(data.get("prompt") or ""), str(negative), str(data.get(EXTRA) or ""), unused)


def select_styles(names: Iterable[str], known: Mapping[str, Style]) -> list[Style]:
    """Return the styles of these names.

    Raises:
        InvalidParameterError: There is none of a name.
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


def apply_style(text: str, pieces: Iterable[str]) -> str:
    """Return a prompt with the pieces of styles laid over it, one after the other."""
    for piece in pieces:
        if PLACEHOLDER in piece:
            text = piece.replace(PLACEHOLDER, text)
        else:
            text = ", ".join(part for part in (text.strip(" ,") if piece.strip() else text, piece.strip()) if part)
    return text
