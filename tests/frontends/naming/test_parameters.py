"""Parameters by the names of clients."""

from __future__ import annotations

from octabox.frontends.naming.parameters import rename_warnings


def test_warnings_by_the_clients_names() -> None:
    """A warning of two parameters that are one field of the client's is one warning."""
    warnings = ["'width' has no effect: it is fixed.", "'height' has no effect: it is fixed.", "Another 'width'.", "x"]
    expected = ["'size' has no effect: it is fixed.", "Another 'width'.", "x"]

    assert expected == rename_warnings(warnings, {"width": "size", "height": "size"})
    assert warnings == rename_warnings(warnings, {})
