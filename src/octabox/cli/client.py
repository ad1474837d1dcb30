"""HTTP client of the commands that call a server."""

from __future__ import annotations

from typing import Any

import click
import httpx

from octabox.errors import NotFoundError, OctaboxError

#: Option for the URL of the server.
url_option = click.option(
    "--url", envvar="OCTABOX_URL", default="http://127.0.0.1:8080", show_default=True, help="URL of the server."
)

#: Option for the API key.
key_option = click.option("--api-key", envvar="OCTABOX_API_KEY", help="API key, if the server requires one.")


def send_request(method: str, url: str, path: str, api_key: str | None = None) -> Any:
    """Send a request to a server and return its JSON response.

    Raises:
        NotFoundError: No server responds at the URL.
        OctaboxError: The response is an error.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=600, trust_env=False)
    except httpx.HTTPError as error:
        hint = "Start one with `octabox serve`, or set its URL with --url."
        raise NotFoundError(f"No server responds at {url}: {error}.", hint=hint) from error
    if response.is_success:
        return response.json()
    try:
        body = response.json()["error"]
        message, hint = body["message"], body.get("hint") or ""
    except (ValueError, KeyError, TypeError):
        message, hint = response.text[:500], ""
    raise OctaboxError(f"The server responded with {response.status_code}: {message}", hint=hint)
