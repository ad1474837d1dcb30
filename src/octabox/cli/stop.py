"""Unload a model from a server's memory, or end the servers that `octabox run` keeps in the background."""

from __future__ import annotations

from urllib.parse import quote

import click
from click.core import ParameterSource

from octabox.cli.client import key_option, send_request, url_option
from octabox.errors import OctaboxError


@click.command(help=__doc__)
@click.argument("model", required=False)
@url_option
@key_option
def command(model: str | None, url: str, api_key: str | None) -> None:
    """Ask a server to unload a model; without a model, end the servers in the background.

    Without an address, the servers in the background are asked as well: `octabox run` has loaded the model into one of them.
    """
    if model is None:
        _stop_background()
        return
    is_default = click.get_current_context().get_parameter_source("url") is ParameterSource.DEFAULT
    try:
        response = send_request("POST", url, f"/v1/models/{quote(model)}/unload", api_key)
        unloaded = response.get("unloaded", True) or (is_default and _unload_background(model))
    except OctaboxError:  # Any server may be at the default address, such as one with other keys.
        unloaded = is_default and _unload_background(model)
        if not unloaded:
            raise
    click.echo(f"{model} is unloaded." if unloaded else f"{model} was not in memory.")


def _unload_background(model: str) -> bool:
    """Unload a model from the servers in the background; return whether one of them had it in memory."""
    from octabox.cli.resident.launcher import unload_model
    from octabox.cli.resident.runtime import runtime_folder

    folder = runtime_folder()
    return folder is not None and unload_model(folder, model)


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
