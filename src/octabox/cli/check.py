"""Check model configurations without loading weights.

Each file is reported as OK, or with the line of each problem; nothing is loaded or downloaded.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from octabox.cli.settings_options import load_settings
from octabox.config.aliases import Alias, resolve_aliases
from octabox.config.discovery import describe_emptiness, discover, resolve_sources
from octabox.config.file_problems import find_file_problems
from octabox.config.parsing import Entry, read_models
from octabox.config.problems import Problem, file_problem
from octabox.config.settings import Settings
from octabox.errors import ConfigError, IncompatibleWeightsError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.folder import CHECKPOINT_SUFFIXES, YAML_SUFFIXES, folder_index, index_file
from octabox.security.filesystem import find_fault
from octabox.service.selection.model_source import model_of_source


@dataclass
class Findings:
    """The checked files, their models and their problems."""

    models: dict[Path, list[str]] = field(default_factory=dict)
    aliases: dict[Path, list[str]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def count(self, severity: str) -> int:
        """Return the number of problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FOLDER|FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Check model configurations without loading weights.

    By default the models folder is checked. The exit code is 4 if there are errors; warnings do not count.
    """
    findings = Findings()
    settings = load_settings()
    if not paths and not settings.models.is_dir():
        click.echo(f"{describe_emptiness(settings.models)}.", err=True)
    for path in paths or filter(os.path.lexists, [settings.models]):
        check_path(path, findings)
    folder = next((path for path in paths if path.is_dir() and not index_file(path)), None)
    if folder is not None:
        settings = settings.model_copy(update={"models": folder, "loras": None, "embeddings": None})
    if folder is not None or not paths:
        findings.problems += find_file_problems(settings)
    findings.problems += check_against_catalog(findings.entries, settings)
    report(findings, as_json=as_json)


def check_path(path: Path, findings: Findings) -> None:
    """Check a folder or a file."""
    if path.is_file() and path.suffix.lower() in YAML_SUFFIXES:
        _check_configuration(path, findings)
    elif index_file(path):
        findings.models[path] = [path.name]
        try:
            folder_index(path)
        except IncompatibleWeightsError as error:
            findings.problems.append(file_problem(path, error.message, error.hint))
        else:
            _add_source(path, findings)
    elif path.is_file():
        findings.models[path] = [path.stem]
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            hint = f"supported suffixes: {', '.join(sorted(YAML_SUFFIXES | CHECKPOINT_SUFFIXES))}"
            findings.problems.append(file_problem(path, "The file is neither a configuration nor a checkpoint.", hint))
        else:
            _add_source(path, findings)
    elif fault := find_fault(path, folders=True):
        findings.problems.append(file_problem(path, fault, "fix or remove it"))
    else:
        _check_folder(path, findings)


def _add_source(path: Path, findings: Findings) -> None:
    """Add a model without a configuration."""
    config = model_of_source(str(path))
    if config is not None:
        findings.entries.append(Entry(config, path))


def _check_configuration(file: Path, findings: Findings) -> None:
    """Check a configuration file."""
    parsed = read_models(file)
    findings.models[file] = [config.name for config in parsed.models]
    findings.problems += parsed.problems
    for entry in parsed.entries:
        resolved, problems = resolve_sources(entry, file.parent)
        findings.entries.append(resolved)
        findings.problems += problems
    found = [*parsed.aliases, *(alias for entry in parsed.entries for alias in entry.aliases())]
    if found:
        # Their models may be in other files of the folder.
        folder = discover(file.parent)
        models = {folder.default.name: None} | {name: config.path for name, config in folder.models.items()}
        aliases, problems = resolve_aliases(found, models)
        _add_aliases(aliases, findings)
        findings.problems += problems


def _add_aliases(aliases: Iterable[Alias], findings: Findings) -> None:
    for alias in aliases:
        findings.aliases.setdefault(alias.file, []).append(alias.label)


def _check_folder(folder: Path, findings: Findings) -> None:
    """Check all models of a folder."""
    registry = discover(folder)
    findings.models |= {parsed.file: [] for parsed in registry.parsed_files}
    for config in registry.models.values():
        if config is not registry.default:
            file = config.path or folder / Path(config.model).name
            findings.models.setdefault(file, []).append(config.name)
            if config.path is None:
                findings.entries.append(Entry(config, file))
    _add_aliases(registry.aliases, findings)
    findings.entries += registry.entries
    findings.problems += registry.problems


def check_against_catalog(entries: Iterable[Entry], settings: Settings) -> list[Problem]:
    """Check configurations by the installed diffusers and the pipelines of the models folder, as the server does."""
    from octabox.catalog.pipelines import load_catalog, use_folder
    from octabox.server import limits_of
    from octabox.service.cascades.problems import ModelProblems
    from octabox.service.checks.configuration import find_problems

    use_folder(settings.pipeline_folder)
    adapters, catalog = AdapterRegistry(settings.lora_folder, settings.embedding_folder), load_catalog()
    limits, lists = limits_of(settings), _list_accelerators if settings.engine == "local" else None
    finder, entries = ModelProblems(adapters, lists, limits), tuple(entries)
    problems = find_problems(entries, catalog, limits)
    for folder in dict.fromkeys(entry.file.parent for entry in entries):
        group = [entry for entry in entries if entry.file.parent == folder]
        named = discover(folder).named if any(entry.config.stages for entry in group) else {}
        asyncio.run(finder.find_accelerators(group, named, folder))
        problems += finder.find(group, named, folder, catalog)
    return problems


async def _list_accelerators() -> list[str] | None:
    """Return the accelerators of this machine, which takes a process that imports torch; None if they cannot be listed."""
    from octabox.cli.output import show_status
    from octabox.engine.local.devices import DevicePool
    from octabox.engine.local.processes.forkserver import ProcessStarter

    with show_status("looking for devices"):
        survey = DevicePool(ProcessStarter(spawns=True)).ask()
    return None if survey.problem else [each.name for each in survey.devices]


def report(findings: Findings, *, as_json: bool = False) -> None:
    """Print the findings by file.

    Args:
        findings: The files, their models and their problems.
        as_json: Whether to print a list of files as JSON, and the summary of errors alone.

    Raises:
        ConfigError: There are errors.
    """
    by_file: dict[Path, list[Problem]] = {file: [] for file in findings.models}
    for problem in findings.problems:
        by_file.setdefault(problem.file, []).append(problem)
    for problems in by_file.values():
        problems.sort(key=lambda each: (each.line, each.column))
    errors, warnings = findings.count("error"), findings.count("warning")
    models = sum(map(len, findings.models.values()))
    summary = f"{_count(len(by_file), 'file')}, {_count(models, 'model')}: "
    summary += f"{_count(errors, 'error')}, {_count(warnings, 'warning')}."
    if as_json:
        click.echo(json.dumps(_to_json(by_file, findings), indent=2, ensure_ascii=False))
    else:
        _print(by_file, findings)
    if errors:
        raise ConfigError(summary)
    if not as_json:
        click.echo(summary)


def _print(by_file: dict[Path, list[Problem]], findings: Findings) -> None:
    """Print a line for each problem, and for each file without any."""
    for file, problems in sorted(by_file.items()):
        names = ", ".join([*findings.models.get(file, ()), *findings.aliases.get(file, ())])
        if not problems:
            click.echo(f"{file}: OK ({names})" if names else f"{file}: OK")
        for problem in problems:
            click.echo(str(problem))


def _to_json(by_file: dict[Path, list[Problem]], findings: Findings) -> list[dict[str, Any]]:
    """Return an object for each file: its path, its models, its aliases and its problems."""
    return [
        {
            "file": str(file),
            "models": findings.models.get(file, []),
            "aliases": findings.aliases.get(file, []),
            "problems": [dataclasses.asdict(problem) | {"file": str(problem.file)} for problem in problems],
        }
        for file, problems in sorted(by_file.items())
    ]


def _count(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 file``, ``2 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
