"""Log out from the Hub: delete the token of this machine."""

from __future__ import annotations

import json

import click


@click.command("logout", help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Delete the token."""
    from octabox.hub.browsing.account import log_out

    remaining = log_out()
    if remaining is not None:
        click.secho(f"Warning: {remaining} still has a token; unset it.", fg="yellow", err=True)
    click.echo(json.dumps({"remaining": remaining}) if as_json else "Logged out.")
