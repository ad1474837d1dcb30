"""The page on errors describes each error class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from octabox import errors
from octabox.cli.errors import EXIT_CODES
from octabox.errors import OctaboxError
from octabox.frontends.grpc.localai.errors import TABLE as GRPC
from octabox.frontends.http.errors import TABLE as HTTP

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CLASSES = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, OctaboxError)
}


def nearest(error: type[OctaboxError], table: Mapping[type[OctaboxError], object]) -> type[OctaboxError]:
    """Return the nearest base of an error class that a table has."""
    return next(kind for kind in error.__mro__ if kind in table)


def codes(error: type[OctaboxError]) -> str:
    """Return the line of a section with the codes of an error class."""
    http, grpc, exit_code = (
        HTTP[nearest(error, HTTP)],
        GRPC[nearest(error, GRPC)],
        EXIT_CODES[nearest(error, EXIT_CODES)],
    )
    return f"HTTP {http.status} `{http.code}`, gRPC {grpc.name}, exit code {exit_code}"


def test_each_class_has_a_section() -> None:
    """The page has one heading per error class, in the order of the source."""
    assert list(CLASSES) == list(SECTIONS)


@pytest.mark.parametrize("name", CLASSES)
def test_a_section_has_codes_cause_and_solution(name: str) -> None:
    """A section has the codes of every frontend, a cause, and a list of solutions."""
    first, cause, solutions = SECTIONS[name].strip().split("\n\n")

    assert codes(CLASSES[name]) == first
    assert cause.endswith(".")
    assert solutions.startswith("- ")
