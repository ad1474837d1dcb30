"""Show which account of the Hub is used, and where its token comes from."""

from __future__ import annotations

import json

import click


@click.command("whoami", help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Print the account."""
    from octabox.cli.tables import show_fields
    from octabox.hub.browsing.account import find_account

    account = find_account()
    if as_json:
        click.echo(json.dumps(account.to_json(), indent=2))
        return
    token = f"{account.token_name or 'unnamed'} ({account.role or 'unknown role'})"
    show_fields([("user", account.name), ("token", token), ("from", account.source), ("Hub", account.endpoint)])
