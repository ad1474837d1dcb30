"""Describe a model: on the Hub, in the cache, in a folder or in a file.

SOURCE is a Hub id, with @REVISION if it is not the default branch, a folder or a file. On the Hub only headers are read.
"""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("inspect", help=__doc__)
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(source: str, *, as_json: bool) -> None:
    """Print what is known about a model."""
    from octabox.cli.output import show_status
    from octabox.cli.pipelines import configured_catalog
    from octabox.cli.tables import format_lines, show_fields
    from octabox.hub.browsing.inspection import inspect_model
    from octabox.hub.browsing.memory import machine_memory

    with show_status("reading"):
        pipelines = configured_catalog().pipelines

        def tasks_of(name: str) -> tuple[str, ...]:
            return tuple(pipelines[name].tasks)

        found = inspect_model(source, machine_memory(), lambda name: name in pipelines, tasks_of)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    show_fields(_fields(found))
    if found.components:
        click.echo("Components")
        click.echo("\n".join(format_lines([(f"  {name}", cls) for name, cls in found.components.items()])))
    if found.choices:
        click.echo("Files to choose from with `octabox pull NAME --file FILE`")
        click.echo("\n".join(f"  {name}" for name in found.choices))


def _fields(found: Any) -> list[tuple[str, str]]:
    """Return the fields of a model with a value."""
    from octabox.cli.tables import format_size

    served = {None: "", True: "yes", False: "no: the installed diffusers has no such class"}[found.served]
    return [
        ("name", found.name),
        ("where", found.where),
        ("kind", found.kind),
        ("pipeline", found.pipeline or ""),
        ("served", served),
        ("tasks", ", ".join(found.tasks)),
        ("parameters", f"{found.parameters:,} ({found.dtype})" if found.parameters else ""),
        ("size", format_size(found.size)),
        ("memory", f"{format_size(found.memory)} (fits: {found.fits or 'unknown'})" if found.memory else ""),
        ("licence", found.licence or ""),
        ("gated", "yes: its owner requires an agreement" if found.gated else ""),
        ("prediction type", found.prediction_type or ""),
        ("missing", ", ".join(found.missing)),
        ("commit", found.revision or ""),
    ]
