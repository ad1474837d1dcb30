"""The source speaks the field's language: words of the list are not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from vocabulary import RefusedWord, load_vocabulary, uses_in

SOURCE = Path(__file__).parents[2] / "src" / "octabox"
VOCABULARY = load_vocabulary()
FILES = [file.relative_to(SOURCE).as_posix() for file in sorted(SOURCE.rglob("*.py"))]


@pytest.mark.parametrize("file", FILES)
def test_no_refused_word_is_used(file: str) -> None:
    """A file uses none in its names, docstrings, comments and messages, but for the exceptions of the list."""
    uses = uses_in((SOURCE / file).read_text(encoding="utf-8"), VOCABULARY.words)
    found = [
        f"{file}:{each.line}: {each.text!r}: use {each.word.use}"
        for each in uses
        if not VOCABULARY.allows(file, each.word.word)
    ]

    assert [] == found


@pytest.mark.parametrize(("file", "word"), VOCABULARY.allowed)
def test_each_exception_is_needed(file: str, word: str) -> None:
    """It names a word of the list that is used there, and gives a reason in a sentence."""
    known = [each for each in VOCABULARY.words if each.word == word]
    files = [each for each in FILES if each.startswith(file)]

    assert known, f"'{word}' is not in the list"
    assert any([*uses_in((SOURCE / each).read_text(encoding="utf-8"), known)] for each in files)
    assert len(VOCABULARY.allowed[file, word].split()) > 3


WORDS = (RefusedWord("told", "described"), RefusedWord("clips?", "video", unless="clip skip"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("told_job = 1\n", ["told_job"]),
        ("_told = 1\n", ["_told"]),
        ("retold = 1\n", []),
        ('"""What was told."""\n', ["What was told."]),
        ("x = 1  # told\n", ["# told"]),
        ('x = "told"\n', []),
        ('x = "`told` is code"\n', []),
        ('x = f"it {told} it"\n', []),
        ('"""Make clips."""\n', ["Make clips."]),
        ('"""The clip skip of a prompt."""\n', []),
    ],
)
def test_words_are_found_in_names_and_prose(text: str, found: list[str]) -> None:
    """Names by their parts, prose by whole words; a string without blanks is a key or a value."""
    assert found == [each.text.strip('"') for each in uses_in(text, WORDS)]
