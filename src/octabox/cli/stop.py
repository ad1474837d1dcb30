"""Unload a model from a server's memory, or end the servers that `octabox run` keeps in the background."""

from __future__ import annotations

from urllib.parse import quote

import click

from octabox.cli.client import key_option, send_request, url_option


@click.command(help=__doc__)
@click.argument("model", required=False)
@url_option
@key_option
def command(model: str | None, url: str, api_key: str | None) -> None:
    """Ask the server to unload a model; without a model, end the servers in the background."""
    if model is None:
        _stop_background()
        return
    response = send_request("POST", url, f"/v1/models/{quote(model)}/unload", api_key)
    click.echo(f"{model} is unloaded." if response.get("unloaded", True) else f"{model} was not in memory.")


def _stop_background() -> None:
    """End all servers in the background, with their requests."""
    from octabox.cli.resident.launcher import end_servers
    from octabox.cli.resident.runtime import runtime_folder

    folder = runtime_folder()
    ended = end_servers(folder, only_idle=False) if folder else []
    for process in ended:
        click.echo(f"The server in the background (process {process}) ends.")
    if not ended:
        click.echo("No server runs in the background.")
