"""Expand wildcards: `__name__` is replaced by a line of the file `name.txt`, `{red|green|2::blue}` by one of its options.

Both may be nested. The choice depends on the seed alone. Empty lines and lines that begin with `#` are ignored. The prefix
`2::` doubles the weight of a line or an option. A backslash escapes `{`, `}`, `|` and `_`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

from octabox.errors import InvalidParameterError, nearest
from octabox.security.filesystem import read_file, walk_files

#: A wildcard: parts of a path, which stays in the folder, since no part begins with a dot.
_PART = r"[^\W_](?:[\w .-]{0,60}?[^\W_])?"
NAME = re.compile(rf"__(?P<name>{_PART}(?:/{_PART}){{0,8}})__")

#: An escaped character.
ESCAPED = re.compile(r"\\([{}|_])")

#: Weight of a line or an option.
WEIGHT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)::")

#: Suffix of wildcard files.
SUFFIX = ".txt"

#: Limits of one prompt: choices, depth of nested choices, and characters of the result.
MAX_CHOICES, MAX_DEPTH, MAX_LENGTH = 1000, 50, 50_000


@dataclass(frozen=True)
class Choice:
    """One of several options, with its relative weight."""

    text: str
    weight: float = 1.0


@dataclass
class _Expansion:
    """The state of the expansion of one prompt."""

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
        folder: Folder of the wildcard files, searched recursively; it may be missing. Links out of it are not followed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: list[str] | None = None
        self._by_name: dict[str, list[str]] | None = None

    def names(self) -> list[str]:
        """Return the names of all wildcards, with their subfolders."""
        if self._known is None:
            files = walk_files(self._folder, {SUFFIX}, leave=False).files
            self._known = [each.relative_to(self._folder).with_suffix("").as_posix() for each in files]
        return self._known

    def named_in(self, text: str) -> list[str]:
        """Return the existing wildcards in a prompt, without duplicates."""
        named = dict.fromkeys(found["name"] for found in NAME.finditer(text))
        return [name for name in named if self._files(name)] if named and not is_json(text) else []

    def expand(self, text: str, seed: int, parameter: str = "prompt") -> str:
        """Expand all wildcards of a prompt.

        Args:
            text: The prompt; JSON is not expanded.
            seed: Seed of the choices, together with the parameter.
            parameter: Name of the call parameter.

        Raises:
            InvalidParameterError: A wildcard does not exist or contains itself, or a limit is exceeded.
        """
        if ("{" not in text and "__" not in text) or is_json(text):
            return text
        # The choices must be independent of the noise of the same seed.
        return self._expand(text, _Expansion(parameter, Random(f"{parameter} {seed}")))  # noqa: S311 (not for security)

    def _expand(self, text: str, state: _Expansion) -> str:
        result, length, position, braces = list[str](), 0, 0, _find_choices(text)
        while position < len(text):
            if ESCAPED.match(text, position):
                # The backslash is kept, so that the result can be parsed again; the prompt parser removes it.
                part, position = text[position : position + 2], position + 2
            elif options := braces.get(position):
                choices = [_parse_choice(text[start:end]) for start, end in options]
                part, position = self._choose(choices, state), options[-1][1] + 1
            elif found := NAME.match(text, position):
                part, position = self._expand_wildcard(found["name"], state), found.end()
            else:
                part, position = text[position], position + 1
            result.append(part)
            length += len(part)
            if length > MAX_LENGTH:
                raise state.refuse(f"The wildcards in '{state.parameter}' expand to more than {MAX_LENGTH} characters.")
        return "".join(result)

    def _expand_wildcard(self, name: str, state: _Expansion) -> str:
        if name in state.chain:
            chain = " -> ".join([*state.chain[state.chain.index(name) :], name])
            raise state.refuse(f"The wildcards in '{state.parameter}' refer to each other in a cycle: {chain}.")
        choices = self._read(name, state)
        state.chain.append(name)
        try:
            return self._choose(choices, state)
        finally:
            state.chain.pop()

    def _choose(self, choices: list[Choice], state: _Expansion) -> str:
        state.choices += 1
        if state.choices > MAX_CHOICES:
            raise state.refuse(f"'{state.parameter}' has more than {MAX_CHOICES} choices.")
        total = sum(each.weight for each in choices)
        if not math.isfinite(total) or total <= 0:
            raise state.refuse(
                f"A choice in '{state.parameter}' has no option with a positive weight: '{choices[0].text[:40]}'."
            )
        if state.depth >= MAX_DEPTH:
            raise state.refuse(f"'{state.parameter}' has more than {MAX_DEPTH} nested choices.")
        left = state.random.random() * total
        remaining = [each for each in choices if each.weight]
        index = 0
        while index < len(remaining) - 1 and (left := left - remaining[index].weight) >= 0:
            index += 1
        state.depth += 1
        result = self._expand(remaining[index].text, state)
        state.depth -= 1
        return result

    def _files(self, name: str) -> list[str]:
        """Return the files of a wildcard: the one with this path, or else those with this name in any folder."""
        if self._by_name is None:
            self._by_name = {each: [each] for each in self.names()}
            exact = frozenset(self._by_name)
            for each in self.names():
                parts = each.split("/")
                for index in range(1, len(parts)):
                    if (short := "/".join(parts[index:])) not in exact:
                        self._by_name.setdefault(short, []).append(each)
        return self._by_name.get(name, [])

    def _read(self, name: str, state: _Expansion) -> list[Choice]:
        """Return the lines of the first file of a wildcard."""
        files = self._files(name)
        if not files:
            close = nearest(name, self.names())
            hint = f"Did you mean __{close[0]}__?" if close else f"Wildcards are .txt files in '{self._folder}'."
            raise state.refuse(f"There is no wildcard '{name}'.", hint, close)
        file = self._folder / f"{files[0]}{SUFFIX}"
        try:
            lines = read_file(file).decode("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise state.refuse(f"The wildcard '{name}' cannot be read: {error}.") from error
        choices = [_parse_choice(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not choices:
            raise state.refuse(f"The wildcard '{name}' has no lines.")
        return choices


def is_json(text: str) -> bool:
    """Return whether a prompt is a JSON object or list, whose brackets and backslashes belong to its text."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _parse_choice(text: str) -> Choice:
    found = WEIGHT.match(text)
    return Choice(text[found.end() :], float(found[1])) if found else Choice(text)


def _find_choices(text: str) -> dict[int, list[tuple[int, int]]]:
    """Return where the options of each choice are, by the position of its opening brace.

    Bars of a nested choice are of that one, and braces without a bar are text.
    """
    found, opened, position = dict[int, list[tuple[int, int]]](), list[list[int]](), 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == "{":
            opened.append([position])
        elif text[position] == "|" and opened:
            opened[-1].append(position)
        elif text[position] == "}" and opened:
            ends = [*opened.pop(), position]
            if len(ends) > 2:  # noqa: PLR2004 (both braces)
                found[ends[0]] = [(start + 1, end) for start, end in pairwise(ends)]
        position += 1
    return found


def unescape(text: str) -> str:
    """Return an expanded prompt without the backslashes of escaped characters."""
    return ESCAPED.sub(r"\1", text)
