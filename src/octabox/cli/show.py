"""Show the parameters of a model, or the metadata of a generated file.

MODEL is a configured name, a folder, a checkpoint file or `demo`; or a generated image, video or audio file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from octabox.server import Parts


@click.command(help=__doc__)
@click.argument("model")
@click.option("--task", help="Show this task, if the model serves several.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON Schema.")
def command(model: str, task: str | None, models: Path | None, *, as_json: bool) -> None:
    """Print information about a model and the schema of its parameters."""
    from octabox.cli.settings_options import load_settings
    from octabox.cli.tables import show_fields, show_table, show_title
    from octabox.media.formats import format_of_suffix
    from octabox.server import build

    if format_of_suffix(Path(model).suffix) and Path(model).is_file():
        _show_file(Path(model), as_json=as_json)
        return
    parts = build(load_settings({"models": models, "allow_hub": True, "log_level": "error"}), model=model)
    schema = parts.models.snapshot().schema(parts.name, task)
    if as_json:
        click.echo(json.dumps(schema, indent=2))
        return
    info = parts.models.snapshot().get(parts.name)
    others = ", ".join(name for name in schema["x-tasks"] if name != schema["x-task"])
    performance = _loaded_performance(parts)
    show_title(info.name, info.description)
    show_fields(
        [
            ("alias of", info.alias_of or ""),
            ("source", info.source),
            ("pipeline", schema["x-pipeline"]),
            ("task", schema["x-task"]),
            ("other tasks", others),
            ("performance", _performance(parts)),
            ("attention", _attention(parts, performance)),
            ("batching", _batching(parts, schema["x-pipeline"], performance)),
        ]
    )
    required = set(schema.get("required", ()))
    rows = [
        [name, _type(part), "required" if name in required else _default(part), part.get("description", "")]
        for name, part in schema["properties"].items()
    ]
    show_table(["parameter", "type", "default", "meaning"], rows)


def _show_file(file: Path, *, as_json: bool) -> None:
    """Print the metadata of a file."""
    from octabox.cli.requests.options import read_metadata
    from octabox.cli.tables import show_fields, show_title

    metadata = read_metadata(file)
    if as_json:
        click.echo(json.dumps(metadata, indent=2))
        return
    show_title(file.name, "")
    fields = {name: value for name, value in metadata.items() if not isinstance(value, dict)}
    for name, nested in metadata.items():
        if isinstance(nested, dict):
            fields |= {f"{name}.{key}": value for key, value in nested.items()}
    show_fields([(name, value if isinstance(value, str) else json.dumps(value)) for name, value in fields.items()])


def _performance(parts: Parts) -> str:
    """Return a model's configured performance profile and its overrides."""
    config = parts.models.snapshot().config(parts.name).performance
    overrides = [f"{name}: {json.dumps(value)}" for name, value in config.overrides.items()]
    return ", ".join([config.profile or parts.settings.profile, *overrides])


def _loaded_performance(parts: Parts) -> dict[str, Any]:
    """Return what became of the performance settings of a model that a server in the background has in memory."""
    from octabox.cli.ps import list_background

    name = parts.models.snapshot().config(parts.name).name
    loaded = (each.get("status") or {} for each in list_background() or () if each["id"] == name)
    return next((found for status in loaded if (found := status.get("performance"))), {})


def _attention(parts: Parts, performance: dict[str, Any]) -> str:
    """Return how a model computes attention: where it is in memory what it does, else what is configured."""
    if found := performance.get("attention"):
        return ", ".join(f"{denoiser}: {text}" for denoiser, text in found.items())
    configured = parts.models.snapshot().config(parts.name).performance.overrides.get("attention")
    return f"{configured or 'the default of diffusers'}; `octabox ps` shows that of a model in memory"


def _batching(parts: Parts, pipeline: str, performance: dict[str, Any]) -> str:
    """Return whether runs share a call of the pipeline: by the configuration, by the model in memory, or by the last probes."""
    from octabox.cli.ps import describe_batches
    from octabox.engine.batches.verdicts import find_verdict

    config = parts.models.snapshot().config(parts.name)
    if config.deterministic or config.batching == "never":
        return "never"
    if not parts.models.catalog.pipeline(pipeline).batches:
        return f"runs singly: {pipeline} takes no list of prompts with a generator for each"
    if learned := describe_batches(performance):
        return f"{config.batching}, {learned}"
    reasons = find_verdict(pipeline, config, _component_classes(config.model))
    if reasons is None:
        return f"{config.batching}, not tried yet"
    if config.batching == "auto" and reasons.keys() == {pipeline}:
        return f"runs singly: {reasons[pipeline]}"
    single = "; ".join(f"{kind} runs singly: {reason}" for kind, reason in reasons.items())
    return f"{config.batching}, {single or 'outputs of batches are equal to single ones'}"


def _component_classes(source: str) -> dict[str, str]:
    """Return the classes of diffusers that the index of a model folder names, by component; empty where there is none."""
    from octabox.errors import OctaboxError
    from octabox.hub.folder import folder_index

    try:
        index = folder_index(Path(source))
    except (OctaboxError, OSError, ValueError):
        return {}
    named = {name: part for name, part in index.items() if isinstance(part, list) and part[:1] == ["diffusers"]}
    return {name: part[1] for name, part in named.items() if isinstance(part[-1], str)}


def _type(schema: dict[str, Any]) -> str:
    """Return a parameter's type as text."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    types: list[str] = []
    for variant in [schema, *schema.get("anyOf", ())]:
        value = variant.get("type", ())
        types += [value] if isinstance(value, str) else list(value)
    return " | ".join(dict.fromkeys(name for name in types if name != "null")) or "any"


def _default(schema: dict[str, Any]) -> str:
    """Return a parameter's default as JSON; empty if it has none."""
    return json.dumps(schema["default"]) if schema.get("default") is not None else ""
