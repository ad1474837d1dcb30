"""The table of errors of gRPC."""

from __future__ import annotations

import grpc
import pytest

from octabox import errors
from octabox.frontends.grpc.localai.errors import MAX_DETAILS, TABLE, code_of, details_of, encodable


def every(kind: type[errors.OctaboxError]) -> list[type[errors.OctaboxError]]:
    """Return a class and all that are derived from it."""
    return [kind, *(found for derived in kind.__subclasses__() for found in every(derived))]


@pytest.mark.parametrize("kind", [kind for kind in every(errors.OctaboxError) if kind.__module__ == "octabox.errors"])
def test_every_error_has_a_row(kind: type[errors.OctaboxError]) -> None:
    """Every error has a status of its own, and none is called a success or left unknown."""
    assert TABLE[kind] not in {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}


def test_several_of_one_kind_have_the_status_of_that_kind() -> None:
    """Several problems are one status, whatever they are."""
    wrong = [errors.InvalidParameterError("A."), errors.MediaError("B.")]

    assert grpc.StatusCode.INVALID_ARGUMENT is code_of(errors.InvalidRequestError(wrong))


def test_details_fit_into_a_header() -> None:
    """A long message is cut, and lines are joined, since details travel in a header."""
    details = details_of(errors.LoadError("word\n" * 2000, hint="Do."))

    assert len(details) <= MAX_DETAILS + 3
    assert details.startswith("word word")


def test_details_are_encodable() -> None:
    """Half of a surrogate pair, which JSON can escape, is replaced; every other character stays."""
    error = errors.ConfigError(
        "EngineArgs: there is no key '\ud800'.", hint="did you mean \N{GREEK SMALL LETTER BETA}?"
    )

    assert details_of(error).encode() == encodable(str(error)).encode()
    assert "no key '?'" in details_of(error)
    assert "\N{GREEK SMALL LETTER BETA}" in details_of(error)
