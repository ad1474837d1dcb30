"""Each source file has its test file, or a reason why others hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "octabox", ROOT / "tests"

#: Groups of source files that are tested elsewhere: ``files``, the ``tests`` that hold them, and the ``reason``.
ELSEWHERE: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "mirror.yaml").read_text(encoding="utf-8"))

LISTED: list[str] = [file for group in ELSEWHERE for file in group["files"]]


def own_test(file: Path) -> Path:
    """Return the place of a source file's own tests."""
    return TESTS / file.parent / f"test_{file.name}"


def test_each_file_has_its_tests() -> None:
    """A file of code has a test file of its own name at the same place, or is listed with those that hold it."""
    files = [file.relative_to(SOURCE) for file in sorted(SOURCE.rglob("*.py")) if file.name != "__init__.py"]
    lacking = {file.as_posix() for file in files if not own_test(file).exists()}

    assert set() == lacking - set(LISTED), "write a test file, or say in tests/house/mirror.yaml what holds it"


@pytest.mark.parametrize("name", LISTED)
def test_a_file_is_listed_only_where_it_must_be(name: str) -> None:
    """What is listed is there, has no tests of its own, and is listed once."""
    assert (SOURCE / name).is_file()
    assert not own_test(Path(name)).exists(), "it has a test file now: take it out of tests/house/mirror.yaml"
    assert 1 == LISTED.count(name)


@pytest.mark.parametrize("group", ELSEWHERE, ids=lambda group: group["files"][0])
def test_what_holds_it_is_there(group: dict[str, Any]) -> None:
    """Each group has a reason in a sentence, and names test files that are there."""
    assert len(group["reason"].split()) > 5
    assert group["reason"].endswith(".")
    assert group["tests"]
    assert [] == [test for test in group["tests"] if not (TESTS / test).is_file()]
