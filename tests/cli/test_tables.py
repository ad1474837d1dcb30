"""Tables."""

from __future__ import annotations

import pytest

from octabox.cli.tables import format_lines, show_fields, show_table


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
