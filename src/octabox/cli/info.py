"""Show versions, devices, optional packages and settings, such as for a bug report.

Devices are looked for by a process that imports torch, which takes some seconds.
"""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import click

from octabox.cli.tables import format_lines, show_fields, show_title
from octabox.telemetry.installation import describe_machine, describe_versions, package_version

#: Extras that are of no use to a user.
INTERNAL_EXTRAS = {"dev"}

#: What each extra is for, as docs/guides/install.md states it.
PURPOSES = {
    "faces": "restoration of faces where OpenCV 5 is installed",
    "full": "packages that some pipelines need, such as OpenCV and librosa",
    "postgres": "background jobs in PostgreSQL",
    "ray": "a cluster of machines",
    "terminal": "images in terminals with sixels",
    "turbo": "more step caches",
    "upscalers": "upscalers such as ESRGAN",
}


@click.command(help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Print what is known about this installation."""
    report = {
        "versions": describe_versions(),
        "machine": describe_machine(),
        "devices": _devices(),
        "extras": _extras(),
        "purposes": PURPOSES,
        "settings": _settings(),
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    for title, show in (("Versions", _show_versions), ("Machine", _show_machine), ("Optional packages", _show_extras)):
        show_title(title)
        show(report)
    show_title("Settings")
    rows = [(name, each["value"], each["source"]) for name, each in report["settings"].items()]
    click.echo("\n".join(format_lines(rows)))


def _devices() -> dict[str, Any]:
    """Return the accelerators with their free bytes, and why they cannot be listed if so."""
    from octabox.cli.output import show_status
    from octabox.engine.local.devices import DevicePool
    from octabox.engine.local.processes.forkserver import ProcessStarter

    with show_status("looking for devices"):
        survey = DevicePool(ProcessStarter(spawns=True)).ask()
    return survey.to_json()


def _extras() -> dict[str, dict[str, str | None]]:
    """Return the versions of the packages of each extra; None for those that are not installed."""
    from packaging.requirements import Requirement

    found: dict[str, dict[str, str | None]] = {}
    for text in importlib.metadata.requires("octabox") or ():
        requirement = Requirement(text)
        for extra in set(importlib.metadata.metadata("octabox").get_all("Provides-Extra") or ()) - INTERNAL_EXTRAS:
            marker = requirement.marker
            if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
                found.setdefault(extra, {})[requirement.name] = package_version(requirement.name)
    return dict(sorted(found.items()))


def _settings() -> dict[str, dict[str, str]]:
    """Return the value and the source of each setting."""
    from octabox.cli.settings_options import load_settings
    from octabox.config.settings import describe_settings

    return describe_settings(load_settings())


def _show_versions(report: dict[str, Any]) -> None:
    show_fields((name, version or "not installed") for name, version in report["versions"].items())


def _show_machine(report: dict[str, Any]) -> None:
    machine, devices = report["machine"], report["devices"]
    memory = f"{machine['memory'] / 2**30:.1f} GiB" if machine["memory"] else ""
    free = {name: f"{size / 2**30:.1f} GiB free" if size else "" for name, size in devices["accelerators"].items()}
    show_fields(
        (
            ("system", machine["system"]),
            ("cores", str(machine["cores"])),
            ("memory", memory),
            *((name, text or "available") for name, text in free.items()),
            ("devices", devices["problem"] or ("" if free else "no accelerator: models run on the CPU")),
        )
    )


def _show_extras(report: dict[str, Any]) -> None:
    rows = []
    for extra, found in report["extras"].items():
        # The purpose is in the first row of an extra.
        purposes = [report["purposes"].get(extra, "")] + [""] * len(found)
        rows += [
            (extra, name, version or "not installed", purpose)
            for (name, version), purpose in zip(found.items(), purposes, strict=False)
        ]
    click.echo("\n".join(format_lines(rows)) + "\n")
