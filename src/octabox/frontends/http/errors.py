"""HTTP status, type and code of each error."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from octabox import errors
from octabox.security.private_folders import hide_folders
from octabox.service.jobs import errors as job_errors


@dataclass(frozen=True)
class HttpError:
    """Status of an error (RFC 9110), with OpenAI's type and code."""

    status: int
    type: str
    code: str


#: Seconds until the server may have been started again.
RESTART_SECONDS = 5

_CODES = {404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "request_too_large"}

_INVALID, _SERVER = "invalid_request_error", "server_error"

#: By class; a class without a row has the row of its nearest base class.
TABLE: dict[type[errors.OctaboxError], HttpError] = {
    errors.OctaboxError: HttpError(500, _SERVER, "internal_error"),
    errors.ConfigError: HttpError(500, _SERVER, "configuration_error"),
    errors.NotFoundError: HttpError(404, _INVALID, "not_found"),
    errors.ModelNotFoundError: HttpError(404, _INVALID, "model_not_found"),
    errors.PipelineNotFoundError: HttpError(404, _INVALID, "pipeline_not_found"),
    errors.TaskNotFoundError: HttpError(400, _INVALID, "task_not_supported"),
    errors.SchedulerNotFoundError: HttpError(400, _INVALID, "scheduler_not_found"),
    errors.AdapterNotFoundError: HttpError(400, _INVALID, "adapter_not_found"),
    errors.GenerationNotFoundError: HttpError(404, _INVALID, "generation_not_found"),
    errors.RequestError: HttpError(400, _INVALID, "invalid_request"),
    errors.UnknownParameterError: HttpError(400, _INVALID, "unknown_parameter"),
    errors.InvalidParameterError: HttpError(400, _INVALID, "invalid_value"),
    errors.MissingParameterError: HttpError(400, _INVALID, "missing_required_parameter"),
    errors.MediaError: HttpError(400, _INVALID, "invalid_image"),
    errors.MediaTypeError: HttpError(415, _INVALID, "unsupported_media_type"),
    errors.InvalidRequestError: HttpError(400, _INVALID, "invalid_request"),
    job_errors.JobStateError: HttpError(409, _INVALID, "invalid_job_state"),
    job_errors.ResultExpiredError: HttpError(410, _INVALID, "result_expired"),
    job_errors.IdempotencyError: HttpError(422, _INVALID, "idempotency_key_reused"),
    errors.CapacityError: HttpError(503, _SERVER, "no_capacity"),
    errors.QueueFullError: HttpError(429, "rate_limit_error", "queue_full"),
    job_errors.JobQuotaError: HttpError(429, "rate_limit_error", "job_quota_exceeded"),
    job_errors.JobStoreError: HttpError(503, _SERVER, "job_store_failed"),
    errors.ServerStoppingError: HttpError(503, _SERVER, "server_stopping"),
    errors.OutOfMemoryError: HttpError(503, _SERVER, "out_of_memory"),
    errors.LoadError: HttpError(500, _SERVER, "load_failed"),
    errors.DownloadError: HttpError(502, _SERVER, "download_failed"),
    errors.GatedModelError: HttpError(403, "permission_error", "gated_model"),
    errors.IncompatibleWeightsError: HttpError(500, _SERVER, "incompatible_weights"),
    errors.IncompatibleAdapterError: HttpError(400, _INVALID, "incompatible_adapter"),
    errors.RemoteCodeError: HttpError(403, "permission_error", "remote_code_refused"),
    errors.MissingDependencyError: HttpError(501, _SERVER, "missing_dependency"),
    errors.GenerationError: HttpError(500, _SERVER, "generation_failed"),
    job_errors.WorkerLostError: HttpError(500, _SERVER, "worker_lost"),
    errors.GenerationCancelledError: HttpError(499, _SERVER, "cancelled"),
    errors.WorkerDiedError: HttpError(500, _SERVER, "worker_died"),
    errors.DeviceError: HttpError(500, _SERVER, "device_failed"),
    errors.SecurityError: HttpError(403, "permission_error", "forbidden"),
    errors.AuthenticationError: HttpError(401, "authentication_error", "invalid_api_key"),
    errors.ForbiddenUrlError: HttpError(400, _INVALID, "forbidden_url"),
    errors.ForbiddenPathError: HttpError(400, _INVALID, "forbidden_path"),
    errors.ForbiddenHostError: HttpError(403, "permission_error", "forbidden_host"),
    errors.ForbiddenOriginError: HttpError(403, "permission_error", "forbidden_origin"),
}


#: Statuses of errors with a code that differ from the status of their class.
STATUSES = {"rate_limited": 503, "disk_full": 507}

#: Codes of failed downloads that may succeed when they are repeated.
TEMPORARY = ("rate_limited", "hub_unavailable", "connection_reset")


def http_error(error: errors.OctaboxError) -> HttpError:
    """Return the row of an error, with its own code if it has one; several errors with the same row have that row."""
    rows = {http_error(each) for each in error.problems} if isinstance(error, errors.InvalidRequestError) else set()
    if len(rows) == 1:
        return rows.pop()
    row = next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)
    if error.code is not None:
        return replace(row, code=error.code, status=STATUSES.get(error.code, row.status))
    return replace(row, code=f"invalid_{error.media_kind}") if isinstance(error, errors.MediaError) else row


def error_body(error: errors.OctaboxError) -> dict[str, Any]:
    """Return the body of an error response in OpenAI's format, with a hint and choices in addition."""
    row = http_error(error)
    fields = {"message": hide_folders(str(error)), "type": row.type, "param": error.parameter, "code": row.code}
    problems = (
        [error_body(problem)["error"] for problem in error.problems]
        if isinstance(error, errors.InvalidRequestError)
        else []
    )
    extra: dict[str, Any] = {
        "hint": hide_folders(error.hint or ""),
        "choices": list(error.choices),
        "problems": problems,
    }
    if isinstance(error, errors.OutOfMemoryError):
        extra |= {"requested_bytes": error.requested, "free_bytes": error.free}
    return {"error": {**fields, **{name: value for name, value in extra.items() if value not in (None, "", [])}}}


def build_error_body(message: str, type_: str, code: str, param: str | None = None) -> dict[str, Any]:
    """Return the body of an error response for an error of another library, such as an unknown route."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def status_code(status: int) -> str:
    """Return the code of an error of another library by its status."""
    return _CODES.get(status, "invalid_request")


def internal_error_body() -> dict[str, Any]:
    """Return the body of an error response for an unexpected exception, without details."""
    return build_error_body("Internal server error. Its details are in the server's log.", _SERVER, "internal_error")


def error_headers(error: errors.OctaboxError) -> dict[str, str]:
    """Return the headers of an error response."""
    if isinstance(error, errors.ServerStoppingError):
        return {"retry-after": str(RESTART_SECONDS)}
    if isinstance(error, errors.CapacityError) and error.retry_after is not None:
        return _retry_after(error.retry_after)
    if isinstance(error, job_errors.JobStateError):
        # They repeat requests with status 409 too.
        return {"x-should-retry": "false"}
    if isinstance(error, errors.DownloadError) and error.code in TEMPORARY:
        return _retry_after(error.retry_after) if error.retry_after is not None else {}
    if isinstance(error, errors.LoadError):
        # OpenAI's clients retry server errors by default; this one is permanent.
        return {"x-should-retry": "false"}
    return {"www-authenticate": "Bearer"} if isinstance(error, errors.AuthenticationError) else {}


def _retry_after(seconds: float) -> dict[str, str]:
    """Return the header with the time after which a request may be repeated, in whole seconds."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}
