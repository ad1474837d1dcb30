"""Show what may be asked of a model, or what an image was made from.

MODEL is a configured name, a folder, a checkpoint file or `demo`; or an image, video or audio that was made before.
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
@click.option("--task", help="Show this task, where the model serves several.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON Schema.")
def command(model: str, task: str | None, models: Path | None, *, as_json: bool) -> None:
    """Print a model's facts and the schema of its parameters."""
    from octabox.cli.tables import show_facts, show_table, show_title
    from octabox.config.settings import Settings
    from octabox.media.formats import format_of_suffix
    from octabox.server import build

    if format_of_suffix(Path(model).suffix) and Path(model).is_file():
        _show_file(Path(model), as_json=as_json)
        return
    parts = build(Settings.load({"models": models, "allow_hub": True, "log_level": "error"}), given=model)
    schema = parts.models.schema(parts.name, task)
    if as_json:
        click.echo(json.dumps(schema, indent=2))
        return
    info = parts.models.get(parts.name)
    others = ", ".join(name for name in schema["x-tasks"] if name != schema["x-task"])
    show_title(info.name, info.description)
    show_facts(
        [
            ("source", info.source),
            ("pipeline", schema["x-pipeline"]),
            ("task", schema["x-task"]),
            ("other tasks", others),
            ("performance", _performance(parts)),
        ]
    )
    required = set(schema.get("required", ()))
    rows = [
        [name, _type(part), "required" if name in required else _default(part), part.get("description", "")]
        for name, part in schema["properties"].items()
    ]
    show_table(["parameter", "type", "default", "meaning"], rows)


def _show_file(file: Path, *, as_json: bool) -> None:
    """Print what a file was made from."""
    from octabox.cli.options import facts_of
    from octabox.cli.tables import show_facts, show_title

    facts = facts_of(file)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    show_title(file.name, "")
    plain = {name: value for name, value in facts.items() if not isinstance(value, dict)}
    inside = {
        f"{name}.{key}": value for name, part in facts.items() if isinstance(part, dict) for key, value in part.items()
    }
    show_facts(
        [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in {**plain, **inside}.items()]
    )


def _performance(parts: Parts) -> str:
    """Return a model's performance profile and its single settings, as they are configured."""
    config = parts.models.config(parts.name).performance
    single = [f"{name}: {json.dumps(value)}" for name, value in config.given.items()]
    return ", ".join([config.profile or parts.settings.profile, *single])


def _type(schema: dict[str, Any]) -> str:
    """Return a parameter's type in words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kinds = [schema, *schema.get("anyOf", ())]
    names: list[str] = []
    for kind in kinds:
        told = kind.get("type", ())
        names += [told] if isinstance(told, str) else list(told)
    return " | ".join(dict.fromkeys(name for name in names if name != "null")) or "any"


def _default(schema: dict[str, Any]) -> str:
    """Return a parameter's default as JSON; nothing where there is none."""
    return json.dumps(schema["default"]) if schema.get("default") is not None else ""
