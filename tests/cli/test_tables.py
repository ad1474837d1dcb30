"""Tables."""

from __future__ import annotations

import sys

import click
import pytest

from octabox.cli.tables import fit_columns, format_lines, show_fields, show_table


def test_columns_stand_under_each_other() -> None:
    """A plain table is aligned, and no line ends in blanks."""
    assert ["NAME  TASK", "a     b", "long  "[:4]] == format_lines([("NAME", "TASK"), ("a", "b"), ("long", "")])


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A long text is complete and on one line, with its brackets."""
    text = "list[red] " * 100

    show_table(("NAME", "TEXT"), [("a", text.strip())], foot="1 row.")

    assert ["NAME  TEXT", f"a     {text.strip()}", "", "1 row."] == capsys.readouterr().out.splitlines()


def test_unknown_facts_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A fact without a value makes no line."""
    show_fields([("tasks", "a"), ("status", "")])

    assert "tasks  a\n\n" == capsys.readouterr().out


HEADINGS = ("NAME", "TASK", "KIND", "SIZE", "UPDATED")
ROWS = [
    ("org/" + "n" * 26, "text-to-image", "StableDiffusionXLPipeline", "12.34 GB", "2026-11-01"),
    ("org/short", "", "LuminaPipeline", "1.00 GB", "2026-11-02"),
]


def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> str:
    """Return a table on a terminal of a width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_table(HEADINGS, ROWS)
    return click.unstyle(capsys.readouterr().out)


@pytest.mark.parametrize("width", [200, 95, 80, 60, 40])
def test_no_word_is_broken_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """A narrow one has the cells of each row below each other, without those that are empty."""
    shown = drawn(monkeypatch, capsys, width)
    lines = shown.splitlines()

    assert all(word in shown for row in ROWS for word in row)
    assert max(map(len, lines)) <= width
    assert (len(lines) == 3) == (width >= 95)
    if width < 95:
        assert ["org/short", "  KIND     LuminaPipeline", "  SIZE     1.00 GB", "  UPDATED  2026-11-02"] == lines[-4:]


def test_only_columns_with_several_words_are_folded() -> None:
    """The first one stays, and the widest of the others is the first to be narrower."""
    rows = [("NAME", "TEXT", "MORE"), ("a name", "one two three four five six", "x yy zzz")]

    assert [6, 27, 8] == fit_columns(rows, 80)
    assert [6, 16, 8] == fit_columns(rows, 32)
    assert [6, 5, 4] == fit_columns(rows, 17)
    assert fit_columns(rows, 16) is None
    assert [4, 32] == fit_columns([("NAME", "PATH"), ("a", "/" * 90)], 37)


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in tables nor in fields; names of files and texts of cards may have any."""
    show_table(("NAME",), [("a\x1b[2Jb",)])
    show_fields([("licence", "mit\x9b2J\u202e and\u00a0more")])

    assert "NAME\na\ufffd[2Jb\nlicence  mit\ufffd2J\ufffd and\u00a0more\n\n" == capsys.readouterr().out
