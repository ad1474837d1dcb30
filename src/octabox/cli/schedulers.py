"""List the noise schedulers that a model can use, or describe one.

Everything is read from the source of the installed diffusers and from the model's own files; nothing is imported or loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.catalog.describing import described
from octabox.catalog.pipelines import load_catalog
from octabox.cli.pipelines import package, parameter_row
from octabox.cli.tables import show_facts, show_table, show_title

if TYPE_CHECKING:
    from octabox.catalog.entries import Parameter, SchedulerEntry
    from octabox.service.models import ModelService

#: What is said of a setting that its class takes and nothing reads.
UNREAD = "(No effect: is read by nothing.)"


@click.command("schedulers")
@click.argument("name", required=False)
@click.option("--model", help="Tell which of them fit this model: a configured name, a folder, a file or a Hub id.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, model: str | None, models: Path | None, *, as_json: bool) -> None:
    """List the noise schedulers that a model can use, or describe one of them, by any of its names: every setting it takes."""
    service, known = _model(model, models)
    if name is not None:
        _one(name, service, known, as_json=as_json)
    else:
        _all(service, known, as_json=as_json)


def _model(model: str | None, models: Path | None) -> tuple[ModelService | None, str]:
    """Return the models and the name of the one that was asked about; None where none was."""
    if model is None:
        return None, ""
    from octabox.config.settings import Settings
    from octabox.server import build

    parts = build(Settings.load({"models": models, "allow_hub": True, "log_level": "error"}), given=model)
    return parts.models, parts.name


def _one(name: str, service: ModelService | None, model: str, *, as_json: bool) -> None:
    """Print what there is to say of one scheduler."""
    from octabox.schedulers.listing import shown

    catalog = load_catalog()
    found = shown(name, catalog)
    if service is not None:
        schedulers, incompatibility = service.schedulers(model), service.scheduler_incompatibility(model, name)
        found |= {**schedulers.as_data(), **schedulers.about(found["name"], incompatibility)}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    entry, means = catalog.schedulers[found["name"]], found["means"]
    show_title(entry.name, entry.description)
    settings = ", ".join(f"{key}: {json.dumps(value)}" for key, value in means["settings"].items())
    show_facts(
        [
            ("module", entry.module),
            ("names", ", ".join(found["names"])),
            ("asked for", f"{name} ({settings})" if settings else ""),
            ("schedules", ", ".join(found["schedules"])),
            ("nearly", means["nearly"] or ""),
            ("packages", ", ".join(package(need) for need in entry.needs)),
            (f"fits {model}", _fit(found)),
        ]
    )
    show_table(("SETTING", "TYPE", "DEFAULT", "DESCRIPTION"), [_setting_row(entry, each) for each in entry.settings])


def _setting_row(entry: SchedulerEntry, setting: Parameter) -> tuple[str, str, str, str]:
    """Return a setting as a row of a table."""
    name, annotation, default, words = parameter_row(setting)
    return name, annotation, default, f"{UNREAD} {words}".strip() if setting.name in entry.unread else words


def _all(service: ModelService | None, model: str, *, as_json: bool) -> None:
    """Print all schedulers as rows, those first that fit the model."""
    from octabox.schedulers.listing import listed, schedule_rows

    entries = list(load_catalog().schedulers.values())
    if service is None:
        rows = [listed(entry) for entry in entries]
        if as_json:
            click.echo(json.dumps([{**described(entry), **listed(entry)} for entry in entries]))
            return
        table = [(each["name"], ", ".join(each["names"]), ", ".join(each["schedules"])) for each in rows]
        show_table(("SCHEDULER", "OTHER NAMES", "SCHEDULES"), table, foot=f"{len(rows)} schedulers.")
        return
    known = service.schedulers(model)
    rows = [{**listed(entry), **known.about(entry.name)} for entry in entries]
    if as_json:
        click.echo(json.dumps({**known.as_data(), "data": rows, "schedules": schedule_rows()}))
        return
    show_title(model)
    kind = ("by matching flows" if known.matches_flows else "by undoing noise") if known.own else ""
    settings = f" {json.dumps(dict(known.settings))}" if known.settings else ""
    show_facts(
        [
            ("its own", known.own or "told only by loading the model"),
            ("recommended", f"{known.recommended}{settings}" if known.recommended else ""),
            ("works", kind),
        ]
    )
    rows.sort(key=lambda each: (not each.get("recommended"), not each.get("fits")))
    incompatibilities = frozenset(each["name"] for each in rows if each.get("fits") is False)
    table = [(each["name"], _fit(each), ", ".join(each["names"])) for each in rows]
    foot = (
        f"{len(rows) - len(incompatibilities)} of {len(rows)} schedulers fit."
        if known.own
        else f"{len(rows)} schedulers."
    )
    show_table(("SCHEDULER", "FITS", "OTHER NAMES"), table, dim=incompatibilities, foot=foot)


def _fit(row: dict[str, Any]) -> str:
    """Return in words whether a scheduler fits; nothing where that is not known."""
    if "fits" not in row:
        return ""
    if not row["fits"]:
        return f"no: {row['reason']}"
    return "yes, recommended" if row["recommended"] else "yes"
