"""The table of verdicts about batches is that of the installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from makers import pipelines
from octabox.catalog.pipelines import load_catalog
from pipelines.batching import NO_LISTS, PROVED, find_verdict, read_verdicts

# Warnings of diffusers, such as of a deprecated class, are no concern of a batch.
pytestmark = pytest.mark.filterwarnings("ignore")

VERDICTS = read_verdicts()

#: Largest length of a verdict that is compared: errors and numbers differ by version and machine.
KIND = 24


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_the_verdict_is_that_of_the_probe(name: str, tmp_path: Path) -> None:
    """A class is probed again, and gets the verdict of the table."""
    if name not in pipelines() or pipelines()[name].missing:
        pytest.skip("its packages are missing")
    found = find_verdict(name, tmp_path)

    assert VERDICTS[name][:KIND] == found[:KIND], found


def test_the_table_has_classes_of_each_kind() -> None:
    """Most are proved; what the catalog excludes was not probed."""
    catalog = load_catalog()
    proved = [name for name, verdict in VERDICTS.items() if verdict == PROVED]

    assert len(proved) > len(VERDICTS) / 3
    assert all(catalog.pipeline(name).batches for name in proved)
    assert all(not catalog.pipeline(name).batches for name, verdict in VERDICTS.items() if verdict == NO_LISTS)
