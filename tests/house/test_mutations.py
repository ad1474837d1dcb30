"""The list of faults that tests must find fits the source; `tools/check_mutations.py` tries them."""

from __future__ import annotations

from pathlib import Path

import pytest

from check_mutations import SOURCE, TESTS, Mutation, read_mutations

LISTED = list(read_mutations())


@pytest.mark.parametrize("mutation", LISTED, ids=lambda each: each.name)
def test_a_fault_can_be_seeded(mutation: Mutation, tmp_path: Path) -> None:
    """Its text is in the source once, its tests exist, and the changed file compiles."""
    copy = tmp_path / mutation.file
    copy.parent.mkdir(parents=True)
    copy.write_bytes((SOURCE / mutation.file).read_bytes())
    mutation.seed(tmp_path)

    compile(copy.read_text(encoding="utf-8"), str(copy), "exec")
    assert [] == [each for each in mutation.tests if not (TESTS / each).exists()]


def test_names_are_distinct() -> None:
    """Each fault can be selected by its name."""
    assert len(LISTED) == len({each.name for each in LISTED})
