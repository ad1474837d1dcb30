"""Copies of errors, for each of several requests that end with the same one."""

from __future__ import annotations

from octabox.error_copies import copy_error
from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError
from octabox.frontends.naming.renaming import rename_error


def test_a_copy_of_an_error_is_renamed_alone() -> None:
    """It has the cause and the traceback; an error that others receive as well keeps the names of the pipeline."""
    width = InvalidParameterError("'width' must be a number.", parameter="width", choices=("1", "2"))
    several = InvalidRequestError([width, InvalidParameterError("'height' is too large.", parameter="height")])
    for error in (width, several):
        try:
            raise error from ValueError("reason")
        except RequestError:
            copied = copy_error(error)
        rename_error(copied, {"width": "size", "height": "size"})

        assert copied.__traceback__ is not None
        assert (type(error), "size", error.choices) == (type(copied), copied.parameter, copied.choices)
        assert (error.__cause__, error.__traceback__) == (copied.__cause__, copied.__traceback__)
        assert error.message.startswith("'width' must be a number.")
        assert ("width", str(error)) == (error.parameter, f"{error.message}")
