"""The table of errors of HTTP."""

import pytest

from octabox import errors
from octabox.frontends.http.errors import TABLE, error_body, error_headers, http_error


def every(kind: type[errors.OctaboxError]) -> list[type[errors.OctaboxError]]:
    """Return a class and all that are derived from it."""
    return [kind, *(found for derived in kind.__subclasses__() for found in every(derived))]


KINDS = [kind for kind in every(errors.OctaboxError) if kind.__module__ == "octabox.errors"]


def made(kind: type[errors.OctaboxError]) -> errors.OctaboxError:
    """Return an error of this class."""
    if kind is errors.InvalidRequestError:
        problems = [errors.InvalidParameterError("What.", hint="Do.", parameter="p", choices=["a"])]
        return errors.InvalidRequestError(problems)
    if kind is errors.QueueFullError:
        return errors.QueueFullError("What.", hint="Do.")
    return kind("What.", hint="Do.", parameter="p", choices=["a"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_row(kind: type[errors.OctaboxError]) -> None:
    """Every error has a row of its own, an honest status, and a body that the client can read."""
    error = made(kind)
    row, told = http_error(error), error_body(error)["error"]

    assert kind in TABLE
    assert 400 <= row.status <= 599
    assert ("What. Do.", row.type, row.code, "Do.") == (told["message"], told["type"], told["code"], told["hint"])
    assert error.parameter == told["param"]


@pytest.mark.parametrize("medium", ["image", "video", "audio", "array"])
def test_the_code_of_a_file_tells_its_kind(medium: str) -> None:
    """A video that cannot be read is no invalid image."""
    error = errors.MediaError("What.")
    error.media_kind = medium

    assert f"invalid_{medium}" == http_error(error).code
    assert f"invalid_{medium}" == http_error(errors.InvalidRequestError([error, error])).code


def test_blame_matches_the_status() -> None:
    """What is the server's fault is called so, and only that."""
    ours = {kind.__name__ for kind, row in TABLE.items() if row.type == "server_error" and row.status != 499}
    fives = {kind.__name__ for kind, row in TABLE.items() if row.status >= 500}

    assert fives == ours


def test_codes_are_unique() -> None:
    """A client can tell errors apart by their codes, but for the general one."""
    codes = [row.code for kind, row in TABLE.items() if kind is not errors.InvalidRequestError]

    assert len(set(codes)) == len(codes)


def test_derived_error_takes_the_row_above() -> None:
    """A class without a row takes that of its parent."""

    class Odd(errors.MediaError):
        """Of no table."""

    assert TABLE[errors.MediaError] == http_error(Odd("x"))


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, "1"), (2.4, "3"), (90.0, "90")])
def test_retry_after(seconds: float, shown: str) -> None:
    """A full queue, models in use and a server that stops say when to come back, in whole seconds."""
    assert int(error_headers(errors.ServerStoppingError("x"))["retry-after"]) >= 1
    assert {"retry-after": shown} == error_headers(errors.QueueFullError("Full.", retry_after=seconds))
    no_room = errors.CapacityError("There was no room.")
    assert {} == error_headers(no_room)
    no_room.retry_after = seconds
    assert {"retry-after": shown} == error_headers(no_room)


@pytest.mark.parametrize(
    ("code", "seconds", "headers"),
    [
        ("rate_limited", 7, {"retry-after": "7"}),
        ("rate_limited", None, {}),
        ("hub_unavailable", None, {}),
        ("connection_reset", None, {}),
        ("disk_full", None, {"x-should-retry": "false"}),
        (None, None, {"x-should-retry": "false"}),
    ],
)
def test_downloads_that_may_be_repeated(code: str | None, seconds: float | None, headers: dict[str, str]) -> None:
    """A client repeats a request whose download failed for now, after the time that is known; not one that fails for good."""
    error = errors.DownloadError("x")
    error.code, error.retry_after = code, seconds

    assert headers == error_headers(error)


def test_other_headers() -> None:
    """A missing key names its scheme; other errors have no headers."""
    assert {"www-authenticate": "Bearer"} == error_headers(errors.AuthenticationError("x"))
    assert {} == error_headers(errors.MediaError("x"))


def test_exhausted_memory_is_told_in_numbers() -> None:
    """A client reads how much was requested and how much was free, where that is known; none is a number, too."""
    known = error_body(errors.OutOfMemoryError("x", requested=2048, free=0))["error"]
    unknown = error_body(errors.OutOfMemoryError("x"))["error"]

    assert (2048, 0) == (known["requested_bytes"], known["free_bytes"])
    assert {"message", "type", "param", "code"} == set(unknown)
