"""Copies of errors, for each of several requests that end with the same one."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

from octabox.errors import InvalidRequestError, OctaboxError

Error = TypeVar("Error", bound=OctaboxError)


def copy_error(error: Error) -> Error:
    """Return a copy of an error with its cause and its traceback; what is changed of it is not changed of the error."""
    copied = copy(error)
    copied.__cause__, copied.__context__ = error.__cause__, error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    if isinstance(copied, InvalidRequestError):
        copied.problems = tuple(copy_error(problem) for problem in copied.problems)
    return copied.with_traceback(error.__traceback__)
