"""Show the models that a server has in memory."""

from __future__ import annotations

import json
import time
from typing import Any

import click
import httpx
from click.core import ParameterSource

from octabox.cli.client import foreign_server, key_option, send_request, url_option
from octabox.config.memory.durations import format_duration
from octabox.errors import OctaboxError

#: Owner of all models of Octabox in the list of models.
OWNER = "octabox"


@click.command(help=__doc__)
@url_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(url: str, api_key: str | None, *, as_json: bool) -> None:
    """Print the models in memory as a table."""
    from octabox.cli.tables import show_table

    is_default = click.get_current_context().get_parameter_source("url") is ParameterSource.DEFAULT
    background = list_background() if is_default else None
    try:
        models = _in_memory(_list_models(url, api_key))
    except OctaboxError as error:
        if background is None:
            raise
        models = []
        if not isinstance(
            error.__cause__, httpx.TransportError
        ):  # One responds, which may be another than was expected.
            click.secho(f"Warning: {error.message}", fg="yellow", err=True)
    # A server in a terminal responds at both of its addresses.
    known = {pid for model in models for pid in _processes(model)}
    models += [model for model in _in_memory(background or []) if not known & _processes(model)]
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    columns = [
        "model",
        "state",
        "pipeline",
        "device",
        "profile",
        "attention",
        "batches",
        "mode",
        "memory",
        "used",
        "left",
    ]
    columns += ["waiting", "pid"]
    show_table(columns, [_row(model) for model in models])


def _list_models(url: str, api_key: str | None) -> list[dict[str, Any]]:
    """Return all models of a server; other servers with the API of OpenAI have other owners."""
    body = send_request("GET", url, "/v1/models", api_key)
    data = body.get("data") if isinstance(body, dict) else None
    models = [model for model in data if isinstance(model, dict)] if isinstance(data, list) else []
    if not any(model.get("owned_by") == OWNER for model in models):
        raise foreign_server(url, "its list of models has none of Octabox")
    return models


def list_background() -> list[dict[str, Any]] | None:
    """Return the models in memory of the servers that `octabox run` keeps in the background; None if there is no server."""
    from octabox.cli.resident.connection import ask
    from octabox.cli.resident.runtime import other_sockets, runtime_folder

    folder = runtime_folder()
    answers = [ask(each, "GET", "/v1/models") for each in other_sockets(folder, None)] if folder else []
    answers = [answer for answer in answers if answer]
    return [model for answer in answers for model in answer["data"]] if answers else None


def _in_memory(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the models of a list that are in memory, each once with all its names."""
    loaded = [model for model in listed if model.get("status") and not model.get("alias_of")]
    return [_with_aliases(model, listed) for model in loaded if _is_first_name(model, loaded)]


def _processes(model: dict[str, Any]) -> set[int]:
    """Return the ids of the processes that hold a model."""
    replicas = model["status"].get("replicas") or [model["status"]]
    return {each["pid"] for each in replicas if each.get("pid")}


def _is_first_name(model: dict[str, Any], models: list[dict[str, Any]]) -> bool:
    """Return whether a model is the first of those that share its process."""
    names = {model["id"], *model["status"].get("names", ())}
    first: str = next(other["id"] for other in models if other["id"] in names)
    return first == str(model["id"])


def _with_aliases(model: dict[str, Any], models: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a model with its other names, if it has any."""
    names = {model["id"], *model["status"].get("names", ())}
    aliases = [other["id"] for other in models if other.get("alias_of") in names]
    others = sorted(names & {other["id"] for other in models} - {model["id"]})
    return {**model, "aliases": [*others, *aliases]} if others or aliases else model


def _row(model: dict[str, Any]) -> list[str]:
    """Return a model as a row of the table."""
    status = model["status"]
    allocated, performance = status.get("allocated", {}), status.get("performance") or {}
    memory = ", ".join(_format_memory(device, size, allocated.get(device)) for device, size in status["memory"].items())
    replicas = status.get("replicas") or [status]
    cells = (
        status["state"],
        status["pipeline"] or "",
        ", ".join(each["device"] or "" for each in replicas),
        performance.get("profile", ""),
        ", ".join(dict.fromkeys((performance.get("attention") or {}).values())),
        describe_batches(performance),
        status.get("memory_mode") or "",
        memory,
        _format_last_use(status),
        _format_time_left(status),
        status["waiting"],
        ", ".join(str(each["pid"]) for each in replicas),
    )
    return [", ".join([model["id"], *model.get("aliases", ())]), *map(str, cells)]


def describe_batches(performance: dict[str, Any]) -> str:
    """Return how many runs share a call by what was learned, and why others run singly."""
    reports = (performance.get(name, {}).get("batching") for name in ("applied", "skipped"))
    return "; ".join(filter(None, reports))


def _format_last_use(status: dict[str, Any]) -> str:
    """Return when a model was used last."""
    last_used = status.get("last_used")
    return "" if last_used is None else f"{format_duration(time.time() - last_used)} ago"


def _format_time_left(status: dict[str, Any]) -> str:
    """Return in what time a model is unloaded if no request arrives."""
    left = status.get("time_left")
    return "pinned" if status.get("pinned") else "" if left is None else format_duration(left)


def _format_memory(device: str, size: int, allocated: int | None) -> str:
    """Return the memory of a device as text, with the part of an accelerator's that is in use."""
    used = "" if allocated is None else f" ({allocated / 2**20:.0f} in use)"
    return f"{device} {size / 2**20:.0f} MiB{used}"
