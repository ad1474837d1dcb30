"""Find the words of `tests/house/vocabulary.yaml` in source code: in names, and in docstrings, comments and messages."""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

#: The list of words.
VOCABULARY = Path(__file__).parents[1] / "tests" / "house" / "vocabulary.yaml"

#: Code within text, such as ``name`` or {name}, which is no prose.
CODE = re.compile(r"`+[^`]*`+|\{[^{}]*\}")


@dataclass(frozen=True)
class RefusedWord:
    """A word that is not used.

    Args:
        word: A regular expression; it must match a whole name, a whole part of a name, or whole words of prose.
        use: What to write instead.
        where: ``names``, ``prose``, or both.
        unless: A regular expression for a name, or for the text around the word, in which it has another meaning.
    """

    word: str
    use: str
    where: tuple[str, ...] = ("names", "prose")
    unless: str = ""


@dataclass(frozen=True)
class Vocabulary:
    """The list of words, and where they may stand.

    Args:
        words: The words.
        allowed: Reasons by (file, word) relative to the package; the file may be a folder.
    """

    words: tuple[RefusedWord, ...]
    allowed: dict[tuple[str, str], str]

    def allows(self, file: str, word: str) -> bool:
        """Return whether a word may stand in a file."""
        return any(word == each and file.startswith(path) for path, each in self.allowed)


@dataclass(frozen=True)
class Use:
    """One use of a refused word.

    Args:
        line: Number of the line.
        text: The name, or the words of prose.
        word: The entry of the list.
    """

    line: int
    text: str
    word: RefusedWord


def load_vocabulary(path: Path = VOCABULARY) -> Vocabulary:
    """Load the list of words."""
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    words = tuple(
        RefusedWord(each["word"], each["use"], tuple(each.get("where", ("names", "prose"))), each.get("unless", ""))
        for each in found["words"]
    )
    allowed = {(each["file"], each["word"]): each["reason"] for each in found.get("allowed") or ()}
    return Vocabulary(words, allowed)


def uses_in(text: str, words: Iterable[RefusedWord]) -> Iterator[Use]:
    """Yield each use of these words in a file's text."""
    words = tuple(words)
    # Nearly every name and sentence has none of them; one pattern finds that out.
    any_word = "|".join(f"(?:{each.word})" for each in words)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    # A method that is called is named where it is defined, which may be in a library.
    triples = zip(tokens, tokens[1:], tokens[2:], strict=False)
    called = {name.start for before, name, after in triples if (before.string, after.string) == (".", "(")}
    for token in tokens:
        if token.type == tokenize.NAME and token.start in called:
            continue
        if token.type == tokenize.NAME and any(
            _pattern(any_word).fullmatch(each) for each in _name_parts(token.string)
        ):
            yield from (Use(token.start[0], token.string, word) for word in words if _in_name(token.string, word))
        elif token.type in (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            prose = CODE.sub(" ", token.string)
            if token.type != tokenize.COMMENT and not re.search(r"\s", prose.strip()):
                continue  # A key or a value, not a sentence.
            if not _prose_pattern(any_word).search(prose):
                continue
            for word in words:
                yield from (Use(token.start[0], found, word) for found in _in_prose(prose, word))


def _in_name(name: str, word: RefusedWord) -> bool:
    """Return whether a name, or a part of it, is a refused word."""
    if "names" not in word.where or (word.unless and re.search(word.unless, name)):
        return False
    pattern = _pattern(word.word)
    return any(pattern.fullmatch(each) for each in _name_parts(name))


def _name_parts(name: str) -> tuple[str, ...]:
    """Return a name, and what stands between its underscores."""
    return (name, name.strip("_"), *name.split("_"))


def _in_prose(text: str, word: RefusedWord) -> Iterator[str]:
    """Yield a refused word in prose, with what stands around it."""
    if "prose" not in word.where:
        return
    for match in _prose_pattern(word.word).finditer(text):
        around = text[max(match.start() - 30, 0) : match.end() + 30]
        if not word.unless or not re.search(word.unless, around):
            yield " ".join(around.split())


def _prose_pattern(word: str) -> re.Pattern[str]:
    """Return the pattern of whole words of prose."""
    return _pattern(rf"(?<![\w'-])(?:{word})(?![\w-])")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def count_refused(folder: Path, words: Iterable[RefusedWord]) -> Counter[str]:
    """Return how often each word is used in the code below a folder, the most frequent first."""
    words = tuple(words)
    counts = Counter(
        use.word.word
        for file in sorted(folder.rglob("*.py"))
        for use in uses_in(file.read_text(encoding="utf-8"), words)
    )
    return Counter(dict(counts.most_common()))
