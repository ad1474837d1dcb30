"""The catalog that the contracts hold for, and what counts how many classes each holds for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from octabox.catalog.pipelines import Catalog, load_catalog
from summaries import TOLD


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the catalog of the installed diffusers."""
    return load_catalog()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Return what notes how many classes a contract holds for, and how many are excused; the end of a run tells it."""

    def note(contract: str, held: int, excused: int = 0) -> None:
        record_property(TOLD, ["contracts", f"{contract}: {held} hold, {excused} excused"])

    return note
