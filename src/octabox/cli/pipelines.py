"""List the pipelines that can be served, or describe one.

Everything is read from the source of the installed diffusers; nothing is imported, and no model is needed.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from octabox.catalog.describing import described
from octabox.catalog.entries import Need, Parameter, PipelineEntry, SizeRule
from octabox.catalog.needs import is_installed, needs_of
from octabox.catalog.pipelines import Catalog, load_catalog, use_folder
from octabox.cli.tables import show_facts, show_table, show_title


@click.command("pipelines")
@click.argument("name", required=False)
@click.option("--task", help="Only those that serve this task, the plainest first.")
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    default="models",
    envvar="OCTABOX_MODELS",
    metavar="DIR",
    help="Folder of models, whose `pipelines` may hold more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, task: str | None, models: Path, as_json: bool) -> None:
    """List the pipelines that can be served, or describe one of them: its tasks, parts and parameters."""
    use_folder(models / "pipelines")
    catalog = load_catalog()
    if name is not None:
        entry = catalog.pipeline(name)
        if as_json:
            click.echo(json.dumps(described(entry), indent=2))
        else:
            _show_one(catalog, entry)
        return
    entries = catalog.ranking(catalog.task(task)) if task else list(catalog.pipelines.values())
    if as_json:
        click.echo(json.dumps([described(entry) for entry in entries]))
    else:
        _show_all(entries)


def _show_all(entries: list[PipelineEntry]) -> None:
    deprecated = frozenset(entry.name for entry in entries if entry.deprecated)
    rows = [(entry.name, ", ".join(entry.tasks), entry.output_kind or "", _inputs(entry)) for entry in entries]
    foot = f"{len(entries)} pipelines, {len(deprecated)} of them deprecated in diffusers."
    show_table(("PIPELINE", "TASKS", "OUTPUT", "MEDIA IN (? = optional)"), rows, dim=deprecated, foot=foot)


def _inputs(entry: PipelineEntry) -> str:
    return ", ".join(f"{parameter.name}{'' if parameter.required else '?'}" for parameter in entry.media())


def _show_one(catalog: Catalog, entry: PipelineEntry) -> None:
    show_title(entry.name, entry.description)
    siblings = [f"{other.name} ({', '.join(other.tasks)})" for other in catalog.siblings(entry.name)]
    show_facts(
        [
            ("tasks", ", ".join(entry.tasks)),
            ("output", ", ".join(f"{field.name} ({field.kind})" for field in entry.outputs)),
            ("family", entry.family),
            ("siblings", ", ".join(siblings)),
            ("components", ", ".join(f"{part.name}{'?' if part.optional else ''}" for part in entry.components)),
            ("needs", "; ".join(" or ".join(group) for group in entry.one_of)),
            ("sizes", "; ".join(_size(rule) for rule in entry.sizes)),
            ("packages", ", ".join(package(need) for need in needs_of(entry))),
            ("module", entry.module),
            ("status", "deprecated in diffusers" if entry.deprecated else ""),
        ]
    )
    show_table(("PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"), [parameter_row(each) for each in entry.parameters])


def _size(rule: SizeRule) -> str:
    names = " and ".join(rule.parameters)
    more = f" plus {rule.offset}" if rule.offset else ""
    rounded = " (others are rounded)" if rule.rounded else ""
    return f"{names} multiples of {rule.multiple or rule.expression}{more}{rounded}"


def package(need: Need) -> str:
    """Return what a class needs in words."""
    remarks = [] if need.certain else ["for some settings"]
    remarks += [] if is_installed(need.module) else ["not installed"]
    return f"{need.name} ({', '.join(remarks)})" if remarks else need.name


def parameter_row(parameter: Parameter) -> tuple[str, str, str, str]:
    """Return a parameter as a row of a table."""
    default = parameter.default if not parameter.literal else json.dumps(parameter.default)
    return (
        parameter.name,
        parameter.annotation,
        "required" if parameter.required else str(default),
        parameter.description,
    )
