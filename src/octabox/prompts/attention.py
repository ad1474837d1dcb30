"""Parse prompt weights in the syntax of the AUTOMATIC1111 web UI.

`(word)` multiplies the weight by 1.1, `[word]` divides it by 1.1, `(word:1.3)` multiplies it by 1.3; nested brackets multiply.
A backslash escapes a bracket, and `BREAK` begins a new section. An unclosed bracket extends to the end, and an unmatched
closing bracket is text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from octabox.errors import InvalidParameterError

#: Factor of a pair of parentheses; square brackets divide by it.
EMPHASIS = 1.1

#: Largest absolute weight; larger weights produce noise.
MAX_WEIGHT = 10.0

#: Maximum number of opening brackets in a prompt.
MAX_BRACKETS = 1000

#: Tokens of a prompt; all other text is words.
TOKEN = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)"
    r"|(?P<close>[)\]])"
    r"|(?P<words>[^\\()\[\]:]+|.)",
    re.DOTALL,
)

#: Separator of sections.
BREAK = re.compile(r"\bBREAK\b")

#: Separator of composed prompts in the web UI, which are not supported.
AND = re.compile(r"\bAND\b")

#: Text that looks like a weight, and a valid weight.
LIKE_NUMBER = re.compile(r":\s*([+-]?(?:nan|inf|[\d.][\w.+-]{0,40}))\s*\)", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")

#: An unambiguous weight: a word, a colon and a decimal without spaces: `(word:1.3)`.
WEIGHTED = re.compile(r"(?<!\\)\([^()\n]{0,200}[^\W\d_]['\"]?:\d{1,2}\.\d{1,3}\)")

#: Text in square brackets; in the web UI, a colon or a vertical bar in it edits the prompt between steps.
IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Fragment:
    """Text with one weight; 1 is unweighted."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class WeightedPrompt:
    """A parsed prompt.

    Args:
        sections: Sections between the BREAKs, each a tuple of fragments.
        warnings: Warnings about ambiguous syntax.
    """

    sections: tuple[tuple[Fragment, ...], ...]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text without weights."""
        return " ".join("".join(fragment.text for fragment in section) for section in self.sections)


class _Parser:
    """Parses one prompt."""

    def __init__(self) -> None:
        # None begins a new section.
        self._parts: list[list[str | float] | None] = []
        self._open: dict[str, list[int]] = {"(": [], "[": []}
        # The factors, and by place those that begin or end there.
        self._factors: list[float] = []
        self._changes: dict[int, list[int]] = {}

    def parse(self, text: str) -> list[list[str | float] | None]:
        for token in TOKEN.finditer(text):
            if token["open"]:
                self._open[token["open"]].append(len(self._parts))
            elif token["weight"] is not None and self._open["("]:
                self._multiply(self._open["("].pop(), float(token["weight"]))
            elif token["close"] and self._open["(" if token["close"] == ")" else "["]:
                is_round = token["close"] == ")"
                self._multiply(self._open["(" if is_round else "["].pop(), EMPHASIS if is_round else 1 / EMPHASIS)
            else:
                self._append(token["escaped"] or token[0], split=token["escaped"] is None)
        for bracket, factor in (("(", EMPHASIS), ("[", 1 / EMPHASIS)):
            for start in self._open[bracket]:
                self._multiply(start, factor)
        self._weight()
        return self._parts

    @property
    def unclosed(self) -> int:
        """Number of unclosed brackets."""
        return sum(map(len, self._open.values()))

    def _multiply(self, start: int, factor: float) -> None:
        """Let a factor apply to the parts from a place on that there are so far."""
        index = len(self._factors)
        self._factors.append(factor)
        for place in (start, len(self._parts)):
            self._changes.setdefault(place, []).append(index)

    def _weight(self) -> None:
        """Set the weights of all parts in one pass: the product changes only where a factor begins or ends."""
        active: set[int] = set()
        weight = 1.0
        for place, part in enumerate(self._parts):
            if place in self._changes:
                for index in self._changes[place]:
                    active ^= {index}
                weight = math.prod((self._factors[index] for index in sorted(active)), start=1.0)
            if part is not None:
                part[1] = weight

    def _append(self, text: str, *, split: bool) -> None:
        words = BREAK.split(text) if split else [text]
        for index, each in enumerate(words):
            if index:
                self._parts.append(None)
            if len(words) > 1:
                each = each.rstrip() if not index else each.strip() if index < len(words) - 1 else each.lstrip()  # noqa: PLW2901
            if each:
                self._parts.append([each, 1.0])


def parse_prompt(text: str, parameter: str = "prompt") -> WeightedPrompt:
    """Parse a prompt into text and weights.

    Args:
        text: The prompt.
        parameter: Name of the call parameter, for errors.

    Raises:
        InvalidParameterError: A weight is out of range, or there are too many brackets.
    """
    if text.count("(") + text.count("[") > MAX_BRACKETS:
        raise InvalidParameterError(
            f"'{parameter}' has more than {MAX_BRACKETS} opening brackets.", parameter=parameter
        )
    parser = _Parser()
    sections: list[list[Fragment]] = [[]]
    for part in parser.parse(text):
        if part is None:
            sections.append([])
            continue
        words, weight = str(part[0]), float(part[1])
        check_weight(words, weight, parameter)
        last = sections[-1][-1] if sections[-1] else None
        if last is not None and last.weight == weight:
            sections[-1][-1] = Fragment(last.text + words, weight)
        else:
            sections[-1].append(Fragment(words, weight))
    found = [tuple(section) for section in sections if section] or [()]
    return WeightedPrompt(tuple(found), tuple(_syntax_warnings(text, parser.unclosed, parameter)))


def check_weight(words: str, weight: float, parameter: str) -> None:
    """Check that a weight is finite and in range.

    Raises:
        InvalidParameterError: The weight is not finite, or too large.
    """
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise InvalidParameterError(
            f"The weight {weight:g} of '{words.strip()[:40]}' in '{parameter}' must be between -{MAX_WEIGHT:g} and "
            f"{MAX_WEIGHT:g}.",
            hint="Usual weights are from 0.5 to 1.5.",
            parameter=parameter,
        )


def _syntax_warnings(text: str, unclosed: int, parameter: str) -> list[str]:
    """Return warnings about ambiguous syntax."""
    found = []
    if AND.search(text):
        found.append(f"'AND' in '{parameter}' is used as a word: composed prompts are not supported.")
    if unclosed:
        found.append(f"A bracket in '{parameter}' is not closed: it applies to the rest of the prompt.")
    if wrong := next((each[1] for each in LIKE_NUMBER.finditer(text) if not NUMBER.fullmatch(each[1])), ""):
        found.append(f"'{wrong}' in '{parameter}' is not a valid weight and is used as text.")
    if edit := next((each for each in IN_BRACKETS.finditer(text) if set(each[1]) & set(":|")), None):
        found.append(f"'{edit[0]}' in '{parameter}' does not edit the prompt between steps and is used as text.")
    return found


def has_weights(text: str) -> str:
    """Return the first unambiguous weight of a prompt with its text; empty if there is none."""
    found = WEIGHTED.search(text)
    return found[0] if found else ""
