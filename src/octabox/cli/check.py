"""Check configurations of models, without their weights.

For every file it says OK, or what is wrong in which line; nothing is loaded, and nothing is fetched.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import click

from octabox.catalog.conditions.ip_adapter import with_scale
from octabox.catalog.entries import PipelineEntry
from octabox.config.discovery import YAML_SUFFIXES, discover, place
from octabox.config.model import ModelConfig
from octabox.config.names import check_names
from octabox.config.parsing import Entry, read_models
from octabox.config.problems import Problem, whole_file
from octabox.config.settings import Settings
from octabox.errors import ConfigError, IncompatibleWeightsError
from octabox.hub.folder import CHECKPOINT_SUFFIXES, folder_index, index_file


@dataclass
class Findings:
    """What was looked at, which models it holds, and what is wrong."""

    models: dict[Path, list[str]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def count(self, severity: str) -> int:
        """Return how many problems are of this severity."""
        return sum(problem.severity == severity for problem in self.problems)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FOLDER|FILE]...")
def command(paths: tuple[Path, ...]) -> None:
    """Check configurations of models, without their weights.

    Without an argument, the models folder is checked. The exit code is 4 if anything is wrong; warnings do not count.
    """
    findings = Findings()
    folder = Settings.load().models
    for path in paths or (folder,):
        look_at(path, findings)
    findings.problems += against_catalog(findings.entries, next((path for path in paths if path.is_dir()), folder))
    report(findings)


def look_at(path: Path, findings: Findings) -> None:
    """Check one folder or file."""
    if path.is_file() and path.suffix.lower() in YAML_SUFFIXES:
        _look_at_configuration(path, findings)
    elif index_file(path):
        findings.models[path] = [path.name]
        try:
            folder_index(path)
        except IncompatibleWeightsError as error:
            findings.problems.append(whole_file(path, error.message, error.hint))
    elif path.is_file():
        findings.models[path] = [path.stem]
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            hint = f"these are read: {', '.join(sorted(YAML_SUFFIXES | CHECKPOINT_SUFFIXES))}"
            findings.problems.append(whole_file(path, "The file is neither a configuration nor a checkpoint.", hint))
    else:
        _look_at_folder(path, findings)


def _look_at_configuration(file: Path, findings: Findings) -> None:
    """Check one configuration file, for itself."""
    reading = read_models(file)
    findings.models[file] = [config.name for config in reading.models]
    findings.problems += reading.problems
    for entry in reading.entries:
        placed, problems = place(entry, file.parent)
        findings.entries.append(placed)
        findings.problems += problems


def _look_at_folder(folder: Path, findings: Findings) -> None:
    """Check all that a folder of models holds."""
    registry = discover(folder)
    findings.models |= {reading.file: [] for reading in registry.readings}
    for config in registry.models.values():
        if config is not registry.default:
            file = config.path or folder / Path(config.model).name
            findings.models.setdefault(file, []).append(config.name)
    findings.entries += registry.entries
    findings.problems += registry.problems


def against_catalog(entries: Iterable[Entry], folder: Path) -> list[Problem]:
    """Check names against the installed diffusers and the pipelines of the models folder, where the catalog can be read."""
    if find_spec("octabox.catalog.pipelines") is None:
        return []
    module = importlib.import_module("octabox.catalog.pipelines")
    module.use_folder(folder / "pipelines")
    catalog = module.load_catalog()

    def family(config: ModelConfig, pipeline: str) -> list[PipelineEntry]:
        own = catalog.pipeline(pipeline)
        extra = frozenset(config.components) - {part.name for part in own.components}
        scales = tuple(each.scale for each in config.ip_adapters)
        return [with_scale(entry, scales) for entry in (own, *catalog.siblings(pipeline, extra))]

    return check_names(entries, catalog.pipelines, catalog.schedulers, family=family)


def report(findings: Findings) -> None:
    """Write what was found, file by file, and end with an error if anything is wrong."""
    by_file: dict[Path, list[Problem]] = {file: [] for file in findings.models}
    for problem in findings.problems:
        by_file.setdefault(problem.file, []).append(problem)
    for file, problems in sorted(by_file.items()):
        names = ", ".join(findings.models.get(file, ()))
        if not problems:
            click.echo(f"{file}: OK ({names})" if names else f"{file}: OK")
        for problem in sorted(problems, key=lambda found: (found.line, found.column)):
            click.echo(str(problem))
    errors, warnings = findings.count("error"), findings.count("warning")
    models = sum(map(len, findings.models.values()))
    summary = f"{_number(len(by_file), 'file')}, {_number(models, 'model')}: "
    summary += f"{_number(errors, 'error')}, {_number(warnings, 'warning')}."
    if errors:
        raise ConfigError(summary)
    click.echo(summary)


def _number(count: int, noun: str) -> str:
    """Count things: ``1 file``, ``2 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
