"""List the available pipelines, or describe one.

They are read from the source of the installed diffusers; nothing is imported, and no model is needed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from octabox.catalog.dependencies import dependencies_of, is_installed
from octabox.catalog.entries import Dependency, Parameter, PipelineEntry, SizeRule
from octabox.catalog.pipelines import Catalog, load_catalog, use_folder
from octabox.catalog.serialization import entry_to_json
from octabox.cli.tables import show_fields, show_table, show_title


@click.command("pipelines")
@click.argument("name", required=False)
@click.option("--task", help="Only pipelines for this task, the simplest first.")
@click.option(
    "--models",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of models, with additional pipelines in its folder `pipelines`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, task: str | None, models: Path | None, as_json: bool) -> None:
    """List the available pipelines, or describe one: its tasks, components and parameters."""
    catalog = configured_catalog(models)
    if name is not None:
        entry = catalog.pipeline(name)
        if as_json:
            click.echo(json.dumps(entry_to_json(entry), indent=2))
        else:
            _show_one(catalog, entry)
        return
    entries = catalog.ranking(catalog.task(task)) if task else list(catalog.pipelines.values())
    if as_json:
        click.echo(json.dumps([entry_to_json(entry) for entry in entries]))
    else:
        _show_all(entries)


def configured_catalog(models: Path | None = None) -> Catalog:
    """Return the catalog with the pipelines in the models folder, as a server with the same settings has it.

    Args:
        models: The models folder; by default that of the settings.

    Raises:
        ConfigError: The file of settings is invalid.
    """
    if os.environ.get("OCTABOX_CONFIG") or Path("octabox.yaml").exists():
        from octabox.cli.settings_options import load_settings

        folder = load_settings({"models": models}).pipeline_folder
    else:
        folder = (models or Path(os.environ.get("OCTABOX_MODELS") or "models")) / "pipelines"
    use_folder(folder)
    return load_catalog()


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
    show_fields(
        [
            ("tasks", ", ".join(entry.tasks)),
            ("output", ", ".join(f"{field.name} ({field.kind})" for field in entry.outputs)),
            ("family", entry.family),
            ("siblings", ", ".join(siblings)),
            ("components", ", ".join(f"{part.name}{'?' if part.optional else ''}" for part in entry.components)),
            ("needs", "; ".join(" or ".join(group) for group in entry.one_of)),
            ("sizes", "; ".join(_size(rule) for rule in entry.sizes)),
            ("packages", ", ".join(package(need) for need in dependencies_of(entry))),
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


def package(need: Dependency) -> str:
    """Return a required package with remarks."""
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
