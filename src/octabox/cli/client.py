"""Talk to a server that runs."""

from __future__ import annotations

from typing import Any

import click
import httpx

from octabox.errors import NotFoundError, OctaboxError

#: Option of every verb that asks a server.
url_option = click.option(
    "--url", envvar="OCTABOX_URL", default="http://127.0.0.1:8080", show_default=True, help="Where the server is."
)

#: Option of every verb that may need a key.
key_option = click.option("--api-key", envvar="OCTABOX_API_KEY", help="Key of the server, where it asks for one.")


def ask(method: str, url: str, path: str, api_key: str | None = None) -> Any:
    """Send a request to a server and return its answer.

    Raises:
        NotFoundError: No server answers there.
        OctaboxError: The server answered with an error.
    """
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=600, trust_env=False)
    except httpx.HTTPError as error:
        hint = "Start one with `octabox serve`, or give its address with --url."
        raise NotFoundError(f"No server answers at {url}: {error}.", hint=hint) from error
    if response.is_success:
        return response.json()
    try:
        told = response.json()["error"]
        message, hint = told["message"], told.get("hint") or ""
    except (ValueError, KeyError, TypeError):
        message, hint = response.text[:500], ""
    raise OctaboxError(f"The server answered {response.status_code}: {message}", hint=hint)
