"""Log in to the Hub with a token, which is read from the terminal or from standard input.

The token is kept where huggingface_hub keeps it, readable for this user only.
"""

from __future__ import annotations

import json
import sys

import click


@click.command("login", help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
def command(*, as_json: bool) -> None:
    """Check a token and keep it."""
    from huggingface_hub import constants

    from octabox.hub.browsing.account import VARIABLES, log_in, token_source

    if sys.stdin.isatty():
        click.echo(f"Create a token with read access at {constants.ENDPOINT}/settings/tokens.", err=True)
        token = click.prompt("Token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    account = log_in(str(token))
    if (source := token_source()) in VARIABLES:
        click.secho(f"Warning: the token in {source} takes precedence; unset it.", fg="yellow", err=True)
    click.echo(
        json.dumps(account.to_json(), indent=2) if as_json else f"Logged in to {account.endpoint} as {account.name}."
    )
