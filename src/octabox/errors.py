"""Every error that Octabox raises on purpose.

    OctaboxError
    ├── ConfigError                 a configuration file or a setting is wrong
    ├── NotFoundError               a name leads nowhere
    │   ├── ModelNotFoundError
    │   ├── PipelineNotFoundError
    │   ├── TaskNotFoundError
    │   ├── SchedulerNotFoundError
    │   ├── AdapterNotFoundError
    │   └── GenerationNotFoundError
    ├── RequestError                the caller asked for something that cannot be
    │   ├── UnknownParameterError
    │   ├── InvalidParameterError
    │   ├── MissingParameterError
    │   ├── MediaError
    │   ├── MediaTypeError
    │   └── InvalidRequestError     several of the above at once
    ├── CapacityError               right request, wrong moment
    │   ├── QueueFullError
    │   └── OutOfMemoryError
    ├── LoadError                   a model could not be brought into memory
    │   ├── DownloadError
    │   ├── GatedModelError
    │   ├── IncompatibleWeightsError
    │   │   └── IncompatibleAdapterError
    │   ├── RemoteCodeError
    │   └── MissingDependencyError
    ├── GenerationError             a call began and did not end well
    │   ├── GenerationCancelledError
    │   ├── WorkerDiedError
    │   └── DeviceError
    └── SecurityError               refused to keep the server, its host or its network safe
        ├── AuthenticationError
        ├── ForbiddenUrlError
        ├── ForbiddenPathError
        ├── ForbiddenHostError
        └── ForbiddenOriginError

Each says what happened, to which thing, and, in ``hint``, what to do. None knows a status number: every frontend maps the tree
in one table of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class OctaboxError(Exception):
    """Base of all errors that Octabox raises on purpose.

    Args:
        message: What happened, in one sentence that names the thing.
        hint: What the caller can do about it.
        model: Name of the model concerned.
        parameter: Name of the parameter concerned, in the spelling of the core (diffusers').
        choices: What would have been accepted.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        model: str | None = None,
        parameter: str | None = None,
        choices: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.model = model
        self.parameter = parameter
        self.choices = tuple(choices)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross the pipe between a worker and the server; the default would call the class with the message alone.
        return _rebuild, (type(self), self.__dict__)


def _rebuild(kind: type[OctaboxError], state: dict[str, Any]) -> OctaboxError:
    """Return an error of this class with this state."""
    error = kind.__new__(kind)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """Return the names most like ``name``, letter case aside, best first."""
    by_lower: dict[str, str] = {}
    for choice in choices:
        by_lower.setdefault(choice.lower(), choice)
    return [by_lower[found] for found in get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)]


class ConfigError(OctaboxError):
    """A configuration file or a setting is wrong."""


class NotFoundError(OctaboxError):
    """A name leads nowhere."""


class ModelNotFoundError(NotFoundError):
    """No model is configured under this name."""


class PipelineNotFoundError(NotFoundError, ValueError):
    """No pipeline class has this name.

    It is a `ValueError` too, since the documented loader functions promise one.
    """


class TaskNotFoundError(NotFoundError, ValueError):
    """No task or alias has this name, or no pipeline of the model serves it."""


class SchedulerNotFoundError(NotFoundError):
    """No scheduler has this name."""


class AdapterNotFoundError(NotFoundError):
    """No LoRA has this name."""


class GenerationNotFoundError(NotFoundError):
    """No request of this id is known: there was none, or it is no longer kept."""


class RequestError(OctaboxError):
    """The caller asked for something that cannot be."""


class UnknownParameterError(RequestError):
    """The pipeline has no parameter of this name."""


class InvalidParameterError(RequestError):
    """A parameter's value is of the wrong type or out of range."""


class MissingParameterError(RequestError):
    """A required parameter was not given."""


class MediaError(RequestError):
    """An image or other input cannot be read, or is too large; ``medium`` is the kind of file that was to be read."""

    media_kind = "image"


class MediaTypeError(RequestError):
    """The body is of a media type that the route does not take."""


class InvalidRequestError(RequestError):
    """Several things are wrong with one request; ``problems`` holds an error for each."""

    def __init__(self, problems: Sequence[RequestError], *, model: str | None = None) -> None:
        message = " ".join(problem.message for problem in problems)
        hint = " ".join(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        super().__init__(message, hint=hint, model=model, parameter=problems[0].parameter, choices=problems[0].choices)
        self.problems = tuple(problems)


class CapacityError(OctaboxError):
    """The request is right, but there is no room for it now."""


class QueueFullError(CapacityError):
    """As many requests wait for this model as may; ``retry_after`` is a guess in seconds of when there is room."""

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str = "", model: str | None = None) -> None:
        super().__init__(message, hint=hint, model=model)
        self.retry_after = retry_after


class OutOfMemoryError(CapacityError):
    """The device or the host has not enough memory for this model or this call.

    Args:
        message: What happened.
        hint: What the caller can do about it.
        model: Name of the model.
        parameter: Name of the parameter concerned.
        choices: What would have been accepted.
        requested: Bytes of the allocation that failed; None where they are not known.
        free: Bytes that were free then; None likewise.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        model: str | None = None,
        parameter: str | None = None,
        choices: Iterable[str] = (),
        requested: int | None = None,
        free: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint, model=model, parameter=parameter, choices=choices)
        self.requested, self.free = requested, free


class LoadError(OctaboxError):
    """A model could not be brought into memory."""


class DownloadError(LoadError):
    """A model's files could not be fetched: no such repository, no network, or no room."""


class GatedModelError(LoadError):
    """The model's owner asks for an agreement or a token first."""


class IncompatibleWeightsError(LoadError):
    """The files are there, but they are not a model of the kind that was asked for."""


class IncompatibleAdapterError(IncompatibleWeightsError):
    """A LoRA is there, but it does not fit the model, or is of a kind that cannot be applied."""


class RemoteCodeError(LoadError):
    """The model brings code of its own, and running it was not allowed."""


class MissingDependencyError(LoadError):
    """The model needs a Python package that is not installed."""


class GenerationError(OctaboxError):
    """A call began and did not end well."""


class GenerationCancelledError(GenerationError):
    """The caller cancelled the request, or went away."""


class WorkerDiedError(GenerationError):
    """The process that held the model ended while the request ran."""


class DeviceError(GenerationError):
    """The device that the model runs on failed: its hardware, its driver or a kernel; neither the request nor the files."""


class SecurityError(OctaboxError):
    """Refused to keep the server, its host or its network safe."""


class AuthenticationError(SecurityError):
    """The request has no API key, or a wrong one."""


class ForbiddenUrlError(SecurityError):
    """The URL leads to an address that must not be fetched."""


class ForbiddenPathError(SecurityError):
    """The path lies outside the folders that may be read."""


class ForbiddenHostError(SecurityError):
    """The request is addressed to a host that is not this server's."""


class ForbiddenOriginError(SecurityError):
    """A web page of another site sent the request."""
