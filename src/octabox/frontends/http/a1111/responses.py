"""Responses of the web UI: errors in its format, and answers that its clients parse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from octabox.errors import (
    AuthenticationError,
    OctaboxError,
    SchedulerNotFoundError,
    SecurityError,
    UnknownParameterError,
)
from octabox.frontends.http.a1111.callers import add_cookie
from octabox.frontends.http.errors import error_headers, http_error, status_code
from octabox.frontends.http.middleware import SafeJson
from octabox.security.private_folders import hide_folders

logger = logging.getLogger("octabox.http")

#: Texts of the web UI that clients look for.
NO_SAMPLER, NO_IMAGE = "Sampler not found", "Init image not found"


class ScriptNotFoundError(UnknownParameterError):
    """There is no script of this name."""


class ImageNotFoundError(UnknownParameterError):
    """A request has no image."""


class ServerControlError(SecurityError):
    """Clients may not stop the server."""


#: Statuses that differ from those of the other APIs, as the web UI has them.
STATUSES: Mapping[type[OctaboxError], int] = {
    SchedulerNotFoundError: 404,
    ImageNotFoundError: 404,
    ScriptNotFoundError: 422,
}


class A1111Route(APIRoute):
    """Route whose errors have the format of the web UI."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await handler(request)
            except OctaboxError as error:
                response = error_response(error)
            except RequestValidationError as error:
                first = error.errors()[0]
                text = f"'{first['loc'][-1]}': {first['msg']}."
                response = SafeJson(error_body("RequestValidationError", text, "invalid_value"), 422)
            except HTTPException as error:
                body = error_body("HTTPException", str(error.detail), status_code(error.status_code))
                response = SafeJson(body, error.status_code, error.headers)
            except ClientDisconnect:
                raise
            except Exception as error:
                logger.exception("%s %s failed", request.method, request.url.path)
                text = "Internal server error. Its details are in the server's log."
                response = SafeJson(error_body(type(error).__name__, text, "internal_error"), 500)
            add_cookie(request, response)
            return response

        return handle


def error_body(kind: str, text: str, code: str, **details: Any) -> dict[str, Any]:
    """Return the body of an error response, with the code of the other APIs in addition."""
    return {"error": kind, "detail": text, "body": "", "errors": text, "code": code, **details}


def error_response(error: OctaboxError) -> Response:
    """Return the response for an error: its text, and the parameter and the valid values."""
    text = hide_folders(str(error))
    if isinstance(error, SchedulerNotFoundError):
        text = f"{NO_SAMPLER}. {text}"
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), http_error(error).status)
    headers = error_headers(error)
    if isinstance(error, AuthenticationError):
        headers["www-authenticate"] = "Basic"
    details = {"param": error.parameter, "hint": hide_folders(error.hint or ""), "choices": list(error.choices)}
    code = http_error(error).code
    body = error_body(type(error).__name__, text, code, **{name: each for name, each in details.items() if each})
    return SafeJson(body, status, headers)
