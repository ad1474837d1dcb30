"""Write what was found: JSON for programs, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from gpu_checks.runner import Outcome

#: Digits of a number that count.
DIGITS = 3

#: Names of the two files.
JSON, PAGE = "gpu_check.json", "gpu_check.md"


class Report:
    """The two report files, rewritten after each check.

    Args:
        folder: Where they are written.
        machine: What the figures were measured on.
        settings: How the checks were run.
    """

    def __init__(self, folder: Path, machine: Mapping[str, object], settings: Mapping[str, object]) -> None:
        self._folder, self._machine, self._settings = folder, dict(machine), dict(settings)
        self._started = datetime.now(timezone.utc)
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Write both files."""
        seconds = (datetime.now(timezone.utc) - self._started).total_seconds()
        content = {
            "machine": self._machine,
            "settings": self._settings,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "checks": [asdict(outcome) for outcome in outcomes],
        }
        self._replace(JSON, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")
        self._replace(PAGE, "\n".join(self._page(outcomes, seconds)) + "\n")

    def _replace(self, name: str, text: str) -> None:
        """Write a file so that a process which is killed meanwhile leaves a whole one."""
        unfinished = self._folder / f".{name}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self._folder / name)

    def _page(self, outcomes: Sequence[Outcome], seconds: float) -> list[str]:
        """Return the lines of the page."""
        machine = {name: value for name, value in self._machine.items() if value is not None}
        where = machine.get("accelerator") or "no accelerator"
        lines = [f"## {self._started:%Y-%m-%d}, {where}", ""]
        lines += ["; ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
        lines += ["Run with " + ", ".join(f"{name} {value}" for name, value in self._settings.items()) + ".", ""]
        lines += [f"{counted(outcomes)}, in {seconds:.0f} s. Weights are random.", ""]
        for table in dict.fromkeys(outcome.table for outcome in outcomes):
            rows = [row for outcome in outcomes if outcome.table == table for row in outcome.rows]
            if rows:
                lines += [f"### {table}", "", *as_table(rows), ""]
        checks = [
            {"check": each.name, "result": each.status, "seconds": round(each.seconds, 1), "why": each.error}
            for each in outcomes
        ]
        return [*lines, "### All checks", "", *as_table(checks)]


def counted(outcomes: Iterable[Outcome]) -> str:
    """Return how many checks ended in which way, in words."""
    statuses = [outcome.status for outcome in outcomes]
    return ", ".join(f"{statuses.count(status)} {status}" for status in ("ok", "failed", "skipped", "not run"))


def as_table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return rows as the lines of a Markdown table, with a column for each name in them."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows]


def _cell(value: object) -> str:
    """Return a value as a cell: numbers with the digits that count, nothing for None and for what is empty."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_cell(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}" if abs(value) < 10**DIGITS else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        cells = [_cell(each) for each in value]
        return (" " if all(each.endswith(".") for each in cells) else ", ").join(cells)
    return str(value).replace("|", "\\|").replace("\n", " ")
