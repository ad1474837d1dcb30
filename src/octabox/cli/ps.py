"""Show the models that a server has in memory."""

from __future__ import annotations

import json
from typing import Any

import click

from octabox.cli.client import ask, key_option, url_option


@click.command(help=__doc__)
@url_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(url: str, api_key: str | None, *, as_json: bool) -> None:
    """Ask the server and print a table."""
    from octabox.cli.tables import show_table

    models = [model for model in ask("GET", url, "/v1/models", api_key)["data"] if model.get("status")]
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    columns = ["model", "state", "pipeline", "device", "profile", "memory", "waiting", "pid"]
    show_table(columns, [_row(model) for model in models])


def _row(model: dict[str, Any]) -> list[str]:
    """Return a model's line of the table."""
    status = model["status"]
    allocated = status.get("allocated", {})
    memory = ", ".join(_amount(place, held, allocated.get(place)) for place, held in status["memory"].items())
    shown = (
        status["state"],
        status["pipeline"] or "",
        status["device"] or "",
        (status.get("performance") or {}).get("profile", ""),
        memory,
        status["waiting"],
        status["pid"],
    )
    return [model["id"], *map(str, shown)]


def _amount(place: str, held: int, allocated: int | None) -> str:
    """Return the memory that is held at a place, and how much of an accelerator's is in use."""
    used = "" if allocated is None else f" ({allocated / 2**20:.0f} in use)"
    return f"{place} {held / 2**20:.0f} MiB{used}"
