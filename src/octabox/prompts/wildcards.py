"""Write out wildcards: `__name__` is a line of the file `name.txt`, and `{red|green|2::blue}` one of its parts.

Both may hold others. Which one is taken follows from the seed alone. In a file, an empty line and one that begins with `#` are
no lines; `2::` before a line or a part makes it twice as likely. A backslash before `{`, `}`, `|` or `_` takes it for a letter.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from octabox.errors import InvalidParameterError, nearest

#: A wildcard: parts of a path, which cannot lead out of the folder, since none begins with a dot.
_PART = r"[^\W_](?:[\w .-]{0,60}?[^\W_])?"
NAME = re.compile(rf"__(?P<name>{_PART}(?:/{_PART}){{0,8}})__")

#: A letter that would begin something without the backslash before it.
ESCAPED = re.compile(r"\\([{}|_])")

#: A line's share, before its words.
SHARE = re.compile(r"\s*(\d+\.?\d*|\.\d+)::")

#: What the files of wildcards end in.
SUFFIX = ".txt"

#: How many choices one prompt may take, how many inside one another, and the letters that may come of it.
MOST_CHOICES, MAX_DEPTH, MOST_LETTERS = 1000, 50, 50_000


@dataclass(frozen=True)
class Choice:
    """One of several texts, and how likely it is against the others."""

    text: str
    weight: float = 1.0


@dataclass
class _Expansion:
    """One prompt on its way."""

    parameter: str
    random: Random
    chain: list[str] = field(default_factory=list)
    choices: int = 0
    depth: int = 0

    def refuse(self, message: str, hint: str = "", choices: list[str] | None = None) -> InvalidParameterError:
        return InvalidParameterError(message, hint=hint, parameter=self.parameter, choices=choices or ())


class Wildcards:
    """The wildcards of a folder.

    Args:
        folder: Where their files are, also in folders inside it; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: list[str] | None = None

    def names(self) -> list[str]:
        """Return all names, with the folders that their files are in."""
        if self._known is None:
            files = sorted(self._folder.rglob(f"*{SUFFIX}")) if self._folder.is_dir() else []
            self._known = [
                each.relative_to(self._folder).with_suffix("").as_posix() for each in files if each.is_file()
            ]
        return self._known

    def named_in(self, text: str) -> list[str]:
        """Return the wildcards that a prompt names and that are there, each once."""
        named = dict.fromkeys(found["name"] for found in NAME.finditer(text))
        return [name for name in named if self._files(name) and not _is_json(text)]

    def expand(self, text: str, seed: int, parameter: str = "prompt") -> str:
        """Return a prompt with every choice made.

        Args:
            text: The prompt; one that is JSON is left as it is.
            seed: What the choices follow from, together with the parameter.
            parameter: The call parameter that it was given for.

        Raises:
            InvalidParameterError: There is no such wildcard, one holds itself, or there is no end of them.
        """
        if ("{" not in text and "__" not in text) or _is_json(text):
            return text
        # Noise of the same seed must not be tied to the choices.
        return self._expand(text, _Expansion(parameter, Random(f"{parameter} {seed}")))  # noqa: S311 (no secret)

    def _expand(self, text: str, state: _Expansion) -> str:
        made, place, closing = "", 0, _closing(text)
        while place < len(text):
            if ESCAPED.match(text, place):
                # The backslash stays, so that what was written out can be read once more; a prompt's reader takes it away.
                made, place = made + text[place : place + 2], place + 2
            elif place in closing and len(parts := _parts(text[place + 1 : closing[place]])) > 1:
                made, place = made + self._choose([_option(part) for part in parts], state), closing[place] + 1
            elif found := NAME.match(text, place):
                made, place = made + self._named(found["name"], state), found.end()
            else:
                made, place = made + text[place], place + 1
            if len(made) > MOST_LETTERS:
                raise state.refuse(f"The wildcards in '{state.parameter}' make more than {MOST_LETTERS} letters.")
        return made

    def _named(self, name: str, state: _Expansion) -> str:
        if name in state.chain:
            chain = " -> ".join([*state.chain[state.chain.index(name) :], name])
            raise state.refuse(f"The wildcards in '{state.parameter}' go round in a circle: {chain}.")
        options = self._read(name, state)
        state.chain.append(name)
        try:
            return self._choose(options, state)
        finally:
            state.chain.pop()

    def _choose(self, options: list[Choice], state: _Expansion) -> str:
        state.choices += 1
        if state.choices > MOST_CHOICES:
            raise state.refuse(f"'{state.parameter}' asks for more than {MOST_CHOICES} choices.")
        total = sum(each.weight for each in options)
        if not math.isfinite(total) or total <= 0:
            raise state.refuse(
                f"A choice in '{state.parameter}' has no part that can be taken: '{options[0].text[:40]}'."
            )
        if state.depth >= MAX_DEPTH:
            raise state.refuse(f"'{state.parameter}' has more than {MAX_DEPTH} choices inside one another.")
        left = state.random.random() * total
        taken = [each for each in options if each.weight]
        while len(taken) > 1 and (left := left - taken[0].weight) >= 0:
            del taken[0]
        state.depth += 1
        made = self._expand(taken[0].text, state)
        state.depth -= 1
        return made

    def _files(self, name: str) -> list[str]:
        """Return which files a wildcard may mean: that of its whole name, else those of that name in any folder."""
        names = self.names()
        return [each for each in names if each == name] or [each for each in names if each.endswith(f"/{name}")]

    def _read(self, name: str, state: _Expansion) -> list[Choice]:
        """Return the lines of a wildcard's file: the first that it may mean."""
        alike = self._files(name)
        if not alike:
            close = nearest(name, self.names())
            hint = f"Did you mean __{close[0]}__?" if close else f"Wildcards are text files in '{self._folder}'."
            raise state.refuse(f"There is no wildcard '{name}'.", hint, close)
        file = self._folder / f"{alike[0]}{SUFFIX}"
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise state.refuse(f"The wildcard '{name}' cannot be read: {error}.") from error
        options = [_option(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not options:
            raise state.refuse(f"The wildcard '{name}' has no lines.")
        return options


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _option(text: str) -> Choice:
    found = SHARE.match(text)
    return Choice(text[found.end() :], float(found[1])) if found else Choice(text)


def _closing(text: str) -> dict[int, int]:
    """Return where each bracket that is closed is closed, by where it is opened."""
    found, opened, place = {}, list[int](), 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == "{":
            opened.append(place)
        elif text[place] == "}" and opened:
            found[opened.pop()] = place
        place += 1
    return found


def _parts(text: str) -> list[str]:
    """Return what stands between the strokes of a choice, those of choices inside it aside."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] in "{}":
            depth += 1 if text[place] == "{" else -1
        elif text[place] == "|" and not depth:
            parts.append(text[start:place])
            start = place + 1
        place += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    """Return a prompt, written out, with each letter that has a backslash before it as the letter alone."""
    return ESCAPED.sub(r"\1", text)
