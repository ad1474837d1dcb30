"""What the end of a run tells beside what passed, however many processes ran the tests.

A test that has something to tell records a property: ``record_property(TOLD, [section, line])``. Properties travel with the
reports to the process that prints.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

#: Property of a test: a section of the summary, and a line for it.
TOLD = "told"

#: Property of a test that passes where a class of diffusers is served: its name.
SERVED = "served"


class Summaries:
    """Collects what tests tell, and prints it."""

    def __init__(self) -> None:
        self._served: set[str] = set()
        self._lines: dict[str, dict[str, None]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test that passed tells."""
        if report.when != "call" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == SERVED:
                self._served.add(str(value))
            elif name == TOLD and isinstance(value, list):
                section, line = value
                self._lines[section][line] = None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the sections."""
        if self._served:
            # It loads diffusers, which the process that prints has no other need of.
            from pipelines.reasons import served_lines  # noqa: PLC0415

            self._lines["pipelines served over HTTP"] = dict.fromkeys(served_lines(self._served))
        for section, told in sorted(self._lines.items()):
            terminalreporter.section(section)
            for line in told:
                terminalreporter.write_line(line)
