"""List the noise schedulers, or describe one.

They are read from the source of the installed diffusers and from the model's files; nothing is imported or loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.serialization import entry_to_json
from octabox.cli.pipelines import configured_catalog, package, parameter_row
from octabox.cli.tables import show_fields, show_table, show_title

if TYPE_CHECKING:
    from octabox.catalog.entries import Parameter, SchedulerEntry
    from octabox.service.protocols import Models

#: Remark on a setting that its class accepts but does not read.
UNREAD = "(No effect: it is never read.)"


@click.command("schedulers")
@click.argument("name", required=False)
@click.option("--model", help="Show which ones fit this model: a configured name, a folder, a file or a Hub id.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, model: str | None, models: Path | None, *, as_json: bool) -> None:
    """List the noise schedulers that a model can use, or describe one, by any of its names, with all its settings."""
    service, model_name = _load_models(model, models)
    if name is not None:
        _show_one(name, service, model_name, as_json=as_json)
    else:
        _show_all(service, model_name, as_json=as_json)


def _load_models(model: str | None, models: Path | None) -> tuple[Models | None, str]:
    """Return the models and the name of the requested one; None if none was requested."""
    if model is None:
        configured_catalog(models)
        return None, ""
    from octabox.cli.settings_options import load_settings
    from octabox.server import build

    parts = build(load_settings({"models": models, "allow_hub": True, "log_level": "error"}), model=model)
    return parts.models.snapshot(), parts.name


def _show_one(name: str, service: Models | None, model: str, *, as_json: bool) -> None:
    """Print a scheduler with its settings."""
    from octabox.schedulers.listing import describe_scheduler
    from octabox.types import SchedulerChoice

    catalog = load_catalog()
    description = describe_scheduler(name, catalog)
    if service is not None:
        schedulers = service.schedulers(model)
        incompatibility = service.scheduler_incompatibility(model, SchedulerChoice(name))
        description |= {**schedulers.to_json(), **schedulers.compatibility(description["name"], incompatibility)}
    if as_json:
        click.echo(json.dumps(description, indent=2))
        return
    entry, means = catalog.schedulers[description["name"]], description["means"]
    show_title(entry.name, entry.description)
    settings = ", ".join(f"{key}: {json.dumps(value)}" for key, value in means["settings"].items())
    show_fields(
        [
            ("module", entry.module),
            ("names", ", ".join(description["names"])),
            ("requested", f"{name} ({settings})" if settings else ""),
            ("schedules", ", ".join(description["schedules"])),
            ("caveat", means["nearly"] or ""),
            ("packages", ", ".join(package(need) for need in entry.needs)),
            (f"fits {model}", _fit(description)),
        ]
    )
    show_table(
        ("SETTING", "TYPE", "DEFAULT", "DESCRIPTION"),
        [_setting_row(entry, each) for each in (*entry.settings, *entry.step_settings)],
    )


def _setting_row(entry: SchedulerEntry, setting: Parameter) -> tuple[str, str, str, str]:
    """Return a setting as a row of a table."""
    name, annotation, default, text = parameter_row(setting)
    return name, annotation, default, f"{UNREAD} {text}".strip() if setting.name in entry.unread else text


def _show_all(service: Models | None, model: str, *, as_json: bool) -> None:
    """Print all schedulers, those that fit the model first."""
    from octabox.schedulers.listing import list_schedules, summarize_scheduler

    entries = list(load_catalog().schedulers.values())
    if service is None:
        rows = [summarize_scheduler(entry) for entry in entries]
        if as_json:
            click.echo(json.dumps([{**entry_to_json(entry), **summarize_scheduler(entry)} for entry in entries]))
            return
        table = [(each["name"], ", ".join(each["names"]), ", ".join(each["schedules"])) for each in rows]
        show_table(("SCHEDULER", "OTHER NAMES", "SCHEDULES"), table, foot=f"{len(rows)} schedulers.")
        return
    known = service.schedulers(model)
    rows = [{**summarize_scheduler(entry), **known.compatibility(entry.name)} for entry in entries]
    if as_json:
        click.echo(json.dumps({**known.to_json(), "data": rows, "schedules": list_schedules()}))
        return
    show_title(model)
    prediction = ("flow matching" if known.matches_flows else "noise prediction") if known.default else ""
    settings = f" {json.dumps(dict(known.settings))}" if known.settings else ""
    show_fields(
        [
            ("default", known.default or "known only once the model is loaded"),
            ("recommended", f"{known.recommended}{settings}" if known.recommended else ""),
            ("training", prediction),
        ]
    )
    rows.sort(key=lambda each: (not each.get("recommended"), not each.get("fits")))
    incompatibilities = frozenset(each["name"] for each in rows if each.get("fits") is False)
    table = [(each["name"], _fit(each), ", ".join(each["names"])) for each in rows]
    foot = (
        f"{len(rows) - len(incompatibilities)} of {len(rows)} schedulers fit."
        if known.default
        else f"{len(rows)} schedulers."
    )
    show_table(("SCHEDULER", "FITS", "OTHER NAMES"), table, dim=incompatibilities, foot=foot)


def _fit(row: dict[str, Any]) -> str:
    """Return whether a scheduler fits as text; empty if that is not known."""
    if "fits" not in row:
        return ""
    if not row["fits"]:
        return f"no: {row['reason']}"
    return "yes, recommended" if row["recommended"] else "yes"
