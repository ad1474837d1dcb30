"""HTTP client of the commands that call a server."""

from __future__ import annotations

from typing import Any

import click
import httpx

from octabox.cli.errors import EXIT_CODES
from octabox.errors import InvalidParameterError, NotFoundError, OctaboxError

#: Option for the URL of the server.
url_option = click.option(
    "--url", envvar="OCTABOX_URL", default="http://127.0.0.1:8080", show_default=True, help="URL of the server."
)

#: Option for the API key.
key_option = click.option("--api-key", envvar="OCTABOX_API_KEY", help="API key, if the server requires one.")


def send_request(method: str, url: str, path: str, api_key: str | None = None) -> Any:
    """Send a request to a server and return its JSON response.

    Raises:
        InvalidParameterError: The URL or the key is not valid.
        NotFoundError: No server responds at the URL, or one that is not Octabox.
        OctaboxError: The response is an error; the class is that of the server's.
    """
    if not (api_key or "").isascii():
        message = "The API key has characters that no key has, such as a special dash."
        raise InvalidParameterError(message, hint="Set it with --api-key or OCTABOX_API_KEY.", parameter="api_key")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=600, trust_env=False)
    except (httpx.InvalidURL, ValueError) as error:
        message = f"'{url}' is not a valid URL: {error}."
        raise InvalidParameterError(message, hint="Such as --url http://127.0.0.1:8080.", parameter="url") from error
    except httpx.HTTPError as error:
        hint = "Start one with `octabox serve`, or set its URL with --url."
        raise NotFoundError(f"No server responds at {url}: {error}.", hint=hint) from error
    try:
        body = response.json()
        if response.is_success:
            return body
        message, hint, code = body["error"]["message"], body["error"].get("hint") or "", body["error"]["code"]
        # Servers of language models have the same format of errors, with the status as the code.
        if not isinstance(code, str):
            raise foreign_server(url, f"it responded with {response.status_code}: {message}")
        kind = _class_of(code)
    except (ValueError, KeyError, TypeError) as error:
        raise foreign_server(url, f"it responded with {response.status_code} and {_media_type(response)}") from error
    raise kind(f"The server responded with {response.status_code}: {message}", hint=hint)


def _class_of(code: str | None) -> type[OctaboxError]:
    """Return the class of errors that decides on the exit code, by the code in a response."""
    from octabox.frontends.http.errors import TABLE

    found = next((cls for cls, row in TABLE.items() if row.code == code), OctaboxError)
    return next(cls for cls in found.__mro__ if cls in EXIT_CODES)


def foreign_server(url: str, reason: str) -> NotFoundError:
    """Return the error for a server that is not Octabox.

    Args:
        url: Its URL.
        reason: How that was found, as a clause.
    """
    hint = "Set the URL of Octabox with --url or OCTABOX_URL."
    return NotFoundError(f"The server at {url} is not Octabox: {reason}.", hint=hint)


def _media_type(response: httpx.Response) -> str:
    """Return the media type of a response."""
    return response.headers.get("content-type", "").partition(";")[0] or "no media type"
