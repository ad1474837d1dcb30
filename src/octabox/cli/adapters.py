"""List the LoRAs and embeddings, and the model each is for.

Only the headers of the files are read.
"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("adapters")
@click.option("--model", metavar="NAME", help="Show whether each fits this model, and why not.")
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--loras", type=click.Path(path_type=Path), metavar="DIR", help="Folder of LoRAs.")
@click.option("--embeddings", type=click.Path(path_type=Path), metavar="DIR", help="Folder of embeddings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    *, model: str | None, models: Path | None, loras: Path | None, embeddings: Path | None, as_json: bool
) -> None:
    """List the LoRAs and embeddings: base model, rank, trigger words and size."""
    from octabox.cli.settings_options import load_settings
    from octabox.cli.tables import show_table
    from octabox.config.discovery import discover
    from octabox.hub.adapters.registry import AdapterRegistry
    from octabox.hub.adapters.serialization import adapter_to_json
    from octabox.service.selection.model_source import model_of_source

    settings = load_settings({"models": models, "loras": loras, "embeddings": embeddings})
    folder = None
    if model is not None:
        registry = discover(settings.models)
        source = None if model in registry.named else model_of_source(model)
        folder = Path((source or registry.find(model)).model)
    adapters = AdapterRegistry(settings.lora_folder, settings.embedding_folder)
    rows = [adapter_to_json(each, folder) for each in (*adapters.loras(), *adapters.embeddings())]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        click.echo(f"There are no adapters in {settings.lora_folder} and {settings.embedding_folder}.")
        return
    headings = ("NAME", "KIND", "BASE", "RANK", "WORDS", "SIZE", *(("FITS",) if model else ()), "")
    show_table(headings, [_row(row, show_fit=model is not None) for row in rows], foot=f"{len(rows)} adapters.")


def _row(row: dict[str, object], *, show_fit: bool) -> tuple[str, ...]:
    """Return an adapter as a row of the table."""
    from octabox.cli.tables import format_size

    kind = row["network"] or row["kind"]
    rank = row["rank"] or row["vectors"] or ""
    words = row["words"] if isinstance(row["words"], list) else []
    fits = row.get("fits")
    fit = "?" if fits is None else "yes" if fits else "no"
    size = format_size(row["size"]) if isinstance(row["size"], int) else ""
    cells = (str(row["name"]), str(kind), str(row["base"] or ""), str(rank), ", ".join(words), size)
    return (*cells, *((fit,) if show_fit else ()), str(row.get("reason") or row["problem"] or ""))
