"""Unload a model from a server's memory."""

from __future__ import annotations

from urllib.parse import quote

import click

from octabox.cli.client import key_option, send_request, url_option


@click.command(help=__doc__)
@click.argument("model")
@url_option
@key_option
def command(model: str, url: str, api_key: str | None) -> None:
    """Ask the server to unload a model."""
    response = send_request("POST", url, f"/v1/models/{quote(model)}/unload", api_key)
    click.echo(f"{model} is unloaded." if response.get("unloaded", True) else f"{model} was not in memory.")
