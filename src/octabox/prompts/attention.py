"""Read weights out of a prompt that is written as for the AUTOMATIC1111 web UI.

`(word)` weighs a word 1.1 times, `[word]` as much less, `(word:1.3)` as the number says; brackets that stand inside one another
multiply. A backslash before a bracket takes it for a letter, and `BREAK` begins a new section. A bracket that is never closed
reaches to the end, and one that closes nothing is a letter.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from octabox.errors import InvalidParameterError

#: How much more a pair of round brackets weighs what stands in it; square ones divide by it.
EMPHASIS = 1.1

#: Weights outside of this make noise of any prompt.
MAX_WEIGHT = 10.0

#: Brackets that one prompt may open.
MOST_BRACKETS = 1000

#: The pieces that a prompt is made of; what is no other piece is a word.
PIECE = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|(?P<open>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)"
    r"|(?P<close>[)\]])"
    r"|(?P<words>[^\\()\[\]:]+|.)",
    re.DOTALL,
)

#: What parts sections.
BREAK = re.compile(r"\bBREAK\b")

#: Parts that the web UI draws at once, each by a prompt of its own.
AND = re.compile(r"\bAND\b")

#: What looks like a weight, and what is one.
LIKE_NUMBER = re.compile(r":\s*([+-]?(?:nan|inf|[\d.][\w.+-]{0,40}))\s*\)", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")

#: A weight that is none by accident: a word, a colon and a decimal, with no blank between them: `(word:1.3)`.
WEIGHTED = re.compile(r"(?<!\\)\([^()\n]{0,200}[^\W\d_]['\"]?:\d{1,2}\.\d{1,3}\)")

#: What stands in square brackets; the web UI reads a colon or a stroke there as a change of the prompt between steps.
IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Fragment:
    """Words of one weight; 1 is as they stand."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class WeightedPrompt:
    """A prompt that has been read.

    Args:
        sections: What stands between the BREAKs, each in fragments.
        warnings: What was taken otherwise than it may have been meant.
    """

    sections: tuple[tuple[Fragment, ...], ...]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The words without their weights."""
        return " ".join("".join(fragment.text for fragment in section) for section in self.sections)


class _Reader:
    """Reads one prompt, piece by piece."""

    def __init__(self) -> None:
        # A section begins at each None.
        self._parts: list[list[str | float] | None] = []
        self._open: dict[str, list[int]] = {"(": [], "[": []}

    def read(self, text: str) -> list[list[str | float] | None]:
        for piece in PIECE.finditer(text):
            if piece["open"]:
                self._open[piece["open"]].append(len(self._parts))
            elif piece["weight"] is not None and self._open["("]:
                self._weigh(self._open["("].pop(), float(piece["weight"]))
            elif piece["close"] and self._open["(" if piece["close"] == ")" else "["]:
                round_one = piece["close"] == ")"
                self._weigh(self._open["(" if round_one else "["].pop(), EMPHASIS if round_one else 1 / EMPHASIS)
            else:
                self._say(piece["escaped"] or piece[0], split=piece["escaped"] is None)
        for bracket, factor in (("(", EMPHASIS), ("[", 1 / EMPHASIS)):
            for start in self._open[bracket]:
                self._weigh(start, factor)
        return self._parts

    @property
    def unclosed(self) -> int:
        """How many brackets were never closed."""
        return sum(map(len, self._open.values()))

    def _weigh(self, start: int, factor: float) -> None:
        for part in self._parts[start:]:
            if part is not None:
                part[1] = float(part[1]) * factor

    def _say(self, text: str, *, split: bool) -> None:
        words = BREAK.split(text) if split else [text]
        for index, each in enumerate(words):
            if index:
                self._parts.append(None)
            if len(words) > 1:
                each = each.rstrip() if not index else each.strip() if index < len(words) - 1 else each.lstrip()  # noqa: PLW2901
            if each:
                self._parts.append([each, 1.0])


def parse_prompt(text: str, parameter: str = "prompt") -> WeightedPrompt:
    """Return a prompt's words and their weights.

    Args:
        text: The prompt.
        parameter: The call parameter that it was given for, for errors.

    Raises:
        InvalidParameterError: A weight is out of range, or there are too many brackets.
    """
    if text.count("(") + text.count("[") > MOST_BRACKETS:
        raise InvalidParameterError(f"'{parameter}' opens more than {MOST_BRACKETS} brackets.", parameter=parameter)
    reader = _Reader()
    sections: list[list[Fragment]] = [[]]
    for part in reader.read(text):
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
    kept = [tuple(section) for section in sections if section] or [()]
    return WeightedPrompt(tuple(kept), tuple(_doubts(text, reader.unclosed, parameter)))


def check_weight(words: str, weight: float, parameter: str) -> None:
    """Make sure that a weight can be meant.

    Raises:
        InvalidParameterError: It is no number, or too large.
    """
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise InvalidParameterError(
            f"The weight {weight:g} of '{words.strip()[:40]}' in '{parameter}' must be between -{MAX_WEIGHT:g} and "
            f"{MAX_WEIGHT:g}.",
            hint="Weights from 0.5 to 1.5 are usual.",
            parameter=parameter,
        )


def _doubts(text: str, unclosed: int, parameter: str) -> list[str]:
    """Return warnings of what may have been meant otherwise."""
    found = []
    if AND.search(text):
        found.append(f"'AND' in '{parameter}' is taken for a word: a call has one prompt.")
    if unclosed:
        found.append(f"A bracket of '{parameter}' is never closed: it weighs all that follows.")
    if wrong := next((each[1] for each in LIKE_NUMBER.finditer(text) if not NUMBER.fullmatch(each[1])), ""):
        found.append(f"'{wrong}' in '{parameter}' is no weight: it was taken for words.")
    if edit := next((each for each in IN_BRACKETS.finditer(text) if set(each[1]) & set(":|")), None):
        found.append(f"'{edit[0]}' in '{parameter}' does not change the prompt between steps: it was taken for words.")
    return found


def has_weights(text: str) -> str:
    """Return the first words of a prompt that have a weight beyond doubt, as they are written; nothing where none have."""
    found = WEIGHTED.search(text)
    return found[0] if found else ""
