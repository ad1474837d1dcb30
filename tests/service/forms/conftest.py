"""The catalog of diffusers."""

from __future__ import annotations

import pytest

from octabox.catalog.pipelines import Catalog, load_catalog


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """Return the catalog."""
    return load_catalog()
