"""gRPC status of each error."""

from __future__ import annotations

import grpc

from octabox import errors
from octabox.errors import OctaboxError

_CODE = grpc.StatusCode

#: By class; a class without a row has the row of its nearest base class. LocalAI's core has HTTP statuses for
#: INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION and UNIMPLEMENTED.
TABLE: dict[type[OctaboxError], grpc.StatusCode] = {
    errors.OctaboxError: _CODE.INTERNAL,
    errors.ConfigError: _CODE.INVALID_ARGUMENT,
    errors.NotFoundError: _CODE.NOT_FOUND,
    errors.ModelNotFoundError: _CODE.NOT_FOUND,
    errors.PipelineNotFoundError: _CODE.INVALID_ARGUMENT,
    errors.TaskNotFoundError: _CODE.UNIMPLEMENTED,
    errors.SchedulerNotFoundError: _CODE.INVALID_ARGUMENT,
    errors.GenerationNotFoundError: _CODE.NOT_FOUND,
    errors.AdapterNotFoundError: _CODE.INVALID_ARGUMENT,
    errors.RequestError: _CODE.INVALID_ARGUMENT,
    errors.UnknownParameterError: _CODE.INVALID_ARGUMENT,
    errors.InvalidParameterError: _CODE.INVALID_ARGUMENT,
    errors.MissingParameterError: _CODE.INVALID_ARGUMENT,
    errors.MediaError: _CODE.INVALID_ARGUMENT,
    errors.MediaTypeError: _CODE.INVALID_ARGUMENT,
    errors.InvalidRequestError: _CODE.INVALID_ARGUMENT,
    errors.CapacityError: _CODE.RESOURCE_EXHAUSTED,
    errors.QueueFullError: _CODE.RESOURCE_EXHAUSTED,
    errors.ServerStoppingError: _CODE.UNAVAILABLE,
    errors.OutOfMemoryError: _CODE.RESOURCE_EXHAUSTED,
    errors.LoadError: _CODE.FAILED_PRECONDITION,
    errors.DownloadError: _CODE.FAILED_PRECONDITION,
    errors.GatedModelError: _CODE.FAILED_PRECONDITION,
    errors.IncompatibleWeightsError: _CODE.FAILED_PRECONDITION,
    errors.IncompatibleAdapterError: _CODE.INVALID_ARGUMENT,
    errors.RemoteCodeError: _CODE.FAILED_PRECONDITION,
    errors.MissingDependencyError: _CODE.FAILED_PRECONDITION,
    errors.GenerationError: _CODE.INTERNAL,
    errors.GenerationCancelledError: _CODE.CANCELLED,
    errors.WorkerDiedError: _CODE.INTERNAL,
    errors.DeviceError: _CODE.INTERNAL,
    errors.SecurityError: _CODE.PERMISSION_DENIED,
    errors.AuthenticationError: _CODE.UNAUTHENTICATED,
    errors.ForbiddenUrlError: _CODE.INVALID_ARGUMENT,
    errors.ForbiddenPathError: _CODE.INVALID_ARGUMENT,
    errors.ForbiddenHostError: _CODE.PERMISSION_DENIED,
    errors.ForbiddenOriginError: _CODE.PERMISSION_DENIED,
}

#: Maximum length of a status's details, which are sent as a header.
MAX_DETAILS = 1000


def code_of(error: OctaboxError) -> grpc.StatusCode:
    """Return the status of an error; several errors with the same status have that status."""
    codes = {code_of(each) for each in error.problems} if isinstance(error, errors.InvalidRequestError) else set()
    if len(codes) == 1:
        return codes.pop()
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def encodable(text: str) -> str:
    """Return a text for a message of the contract, with a question mark for each character that has no UTF-8.

    An unpaired surrogate can be escaped in the JSON of a field, and be named by the error or the warning about it.
    """
    return text.encode(errors="replace").decode()


def details_of(error: OctaboxError) -> str:
    """Return the details of a status in one line, truncated to the size of a header."""
    text = " ".join(encodable(str(error)).split())
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}..."
