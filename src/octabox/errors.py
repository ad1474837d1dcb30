"""All errors of Octabox.

    OctaboxError
    ├── ConfigError                 a configuration file or a setting is invalid
    ├── NotFoundError               a name is not known
    │   ├── ModelNotFoundError
    │   ├── PipelineNotFoundError
    │   ├── TaskNotFoundError
    │   ├── SchedulerNotFoundError
    │   ├── AdapterNotFoundError
    │   └── GenerationNotFoundError
    ├── RequestError                the request is invalid
    │   ├── UnknownParameterError
    │   ├── InvalidParameterError
    │   ├── MissingParameterError
    │   ├── MediaError
    │   ├── MediaTypeError
    │   └── InvalidRequestError     several of the above
    ├── CapacityError               the request is valid, but resources are exhausted
    │   ├── QueueFullError
    │   ├── ServerStoppingError
    │   └── OutOfMemoryError
    ├── LoadError                   a model could not be loaded
    │   ├── DownloadError
    │   ├── GatedModelError
    │   ├── IncompatibleWeightsError
    │   │   └── IncompatibleAdapterError
    │   ├── RemoteCodeError
    │   └── MissingDependencyError
    ├── GenerationError             a call failed
    │   ├── GenerationCancelledError
    │   ├── WorkerDiedError
    │   └── DeviceError
    └── SecurityError               refused to protect the server, its host or its network
        ├── AuthenticationError
        ├── ForbiddenUrlError
        ├── ForbiddenPathError
        ├── ForbiddenHostError
        └── ForbiddenOriginError

Each states what happened, to which object, and, in ``hint``, how to fix it. Each frontend maps them to its status codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from octabox.shortening import MAX_PROBLEMS, shorten_message
from octabox.similarity import nearest as nearest  # noqa: PLC0414 (callers of errors need it for hints)


class OctaboxError(Exception):
    """Base class of all errors of Octabox.

    Args:
        message: What happened, in one sentence that names the object.
        hint: How the caller can fix it.
        model: Name of the model concerned.
        parameter: Name of the parameter concerned, as diffusers spells it.
        choices: Values that would be accepted.

    Attributes:
        code: A code that is more specific than that of the class, such as ``gated_pending``; None if there is none.
    """

    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        model: str | None = None,
        parameter: str | None = None,
        choices: Iterable[str] = (),
    ) -> None:
        self.message, self.hint = shorten_message(message), shorten_message(hint)
        super().__init__(self.message)
        self.model, self.choices = model, tuple(choices)
        self.parameter = None if parameter is None else shorten_message(parameter)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors are sent from a worker to the server; the default would call the class with the message alone.
        return _rebuild, (type(self), self.__dict__)


def _rebuild(cls: type[OctaboxError], state: dict[str, Any]) -> OctaboxError:
    """Return an error of a class with a state."""
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


#: The end of a sentence.
_SENTENCE_END = re.compile(r"(?<=[.?!]) +")


class ConfigError(OctaboxError):
    """A configuration file or a setting is invalid."""


class NotFoundError(OctaboxError):
    """A name is not known."""


class ModelNotFoundError(NotFoundError):
    """No model is configured under this name."""


class PipelineNotFoundError(NotFoundError, ValueError):
    """No pipeline class has this name; a `ValueError` too, since the documented loader functions raise one."""


class TaskNotFoundError(NotFoundError, ValueError):
    """No task or alias has this name, or no pipeline of the model serves it."""


class SchedulerNotFoundError(NotFoundError):
    """No scheduler has this name."""


class AdapterNotFoundError(NotFoundError):
    """No LoRA has this name."""


class GenerationNotFoundError(NotFoundError):
    """No request has this id, or its result has expired."""


class RequestError(OctaboxError):
    """The request is invalid."""


class UnknownParameterError(RequestError):
    """The pipeline has no parameter of this name."""


class InvalidParameterError(RequestError):
    """The value of a parameter has the wrong type or is out of range."""


class MissingParameterError(RequestError):
    """A required parameter is missing."""


class MediaError(RequestError):
    """An image or other input cannot be read, or is too large; ``media_kind`` is the expected kind of file."""

    media_kind = "image"


class MediaTypeError(RequestError):
    """The route does not accept the media type of the body."""


class InvalidRequestError(RequestError):
    """A request has several errors, which are in ``problems``."""

    def __init__(self, problems: Sequence[RequestError], *, model: str | None = None) -> None:
        if len(problems) > MAX_PROBLEMS:
            problems = [*problems[:MAX_PROBLEMS], RequestError(f"There are {len(problems) - MAX_PROBLEMS} more.")]
        super().__init__("", model=model)
        self.problems = tuple(problems)
        self.restate()

    def restate(self) -> None:
        """Take the message, the hint, the parameter and the choices from the problems, which may have changed."""
        hints = [sentence for problem in self.problems for sentence in _SENTENCE_END.split(problem.hint)]
        self.message = shorten_message(" ".join(problem.message for problem in self.problems))
        self.hint = shorten_message(" ".join(dict.fromkeys(filter(None, hints))))
        self.parameter, self.choices = self.problems[0].parameter, self.problems[0].choices


class CapacityError(OctaboxError):
    """The request is valid, but resources are exhausted; ``retry_after`` is after how many seconds it may succeed, if ever."""

    retry_after: float | None = None


#: Seconds after which a part of the server that waits for room in a queue asks again: at most, whatever clients are to wait.
MAX_PAUSE = 5.0


class QueueFullError(CapacityError):
    """The queue of the model is full; ``retry_after`` is the estimated time until it has room, in seconds."""

    retry_after: float

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str = "", model: str | None = None) -> None:
        super().__init__(message, hint=hint, model=model)
        self.retry_after = retry_after

    @property
    def pause(self) -> float:
        """After how many seconds a part of the server that waits for room asks again."""
        return min(self.retry_after, MAX_PAUSE)


class ServerStoppingError(CapacityError):
    """The server is being stopped, and accepts no requests; its successor may."""

    def __init__(self, message: str = "The server is being stopped.", **details: Any) -> None:
        super().__init__(message, **{"hint": "Send the request again in a few seconds.", **details})


class OutOfMemoryError(CapacityError):
    """The device or the host does not have enough memory for this model or this call.

    Args:
        message: What happened.
        **details: The other arguments of `OctaboxError`.
        requested: Size of the failed allocation in bytes; None if not known.
        free: Free memory at that time in bytes; None if not known.
    """

    def __init__(self, message: str, *, requested: int | None = None, free: int | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.requested, self.free = requested, free


class LoadError(OctaboxError):
    """A model could not be loaded."""


class DownloadError(LoadError):
    """The files of a model could not be downloaded: no such repository, no network, or no disk space."""

    retry_after: float | None = None  # Seconds until the Hub accepts requests again; None if it does not state them.


class GatedModelError(LoadError):
    """Access to the model requires an agreement or a token."""


class IncompatibleWeightsError(LoadError):
    """The files exist, but are not a model of the requested kind."""


class IncompatibleAdapterError(IncompatibleWeightsError):
    """A LoRA exists, but does not fit the model or is of a kind that is not supported."""


class RemoteCodeError(LoadError):
    """The model includes code, and executing it is not allowed."""


class MissingDependencyError(LoadError):
    """The model requires a Python package that is not installed."""


class GenerationError(OctaboxError):
    """A call failed."""


class GenerationCancelledError(GenerationError):
    """The caller cancelled the request or disconnected."""


class WorkerDiedError(GenerationError):
    """The worker process ended: ``hung``, by the server; ``lost``, on a node of a cluster; ``exited``, by itself there."""

    def __init__(self, message: str, *, hung: bool = False, lost: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.hung, self.lost, self.exited = hung, lost, False


class DeviceError(GenerationError):
    """The device failed: its hardware, its driver or a kernel; the request and the files are not the cause."""


class SecurityError(OctaboxError):
    """Refused to protect the server, its host or its network."""


class AuthenticationError(SecurityError):
    """The API key of the request is missing or invalid."""


class ForbiddenUrlError(SecurityError):
    """The address of the URL must not be fetched."""


class ForbiddenPathError(SecurityError):
    """The path is outside the allowed folders."""


class ForbiddenHostError(SecurityError):
    """The ``Host`` of the request is not one of the server's names."""


class ForbiddenOriginError(SecurityError):
    """The request comes from a web page of another site."""
