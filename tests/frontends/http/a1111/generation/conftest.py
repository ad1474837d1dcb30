"""A server for tests of the generation routes."""

from __future__ import annotations

import pytest

from fakes import Server


@pytest.fixture
def server() -> Server:
    """Return a server of the embedded model over fakes."""
    return Server()
