"""Find the configuration of a model that is named by its place: a folder, a file, a configuration, a Hub id or its page."""

from __future__ import annotations

from pathlib import Path

from octabox.config.discovery import resolve_sources
from octabox.config.model import ModelConfig
from octabox.config.parsing import read_models
from octabox.errors import ConfigError, IncompatibleWeightsError
from octabox.hub.folder import CHECKPOINT_SUFFIXES, YAML_SUFFIXES, is_hub_id
from octabox.hub.pulls.addresses import parse_address, source_of
from octabox.security.filesystem import existing_path, read_file

#: Start of the header of a safetensors file, after its length in 8 bytes.
_HEADER, _LENGTH = b"{", 8


def model_of_source(source: str) -> ModelConfig | None:
    """Return the configuration of a Hub id or the address of its page, of a folder or of a file; None for any other text.

    Raises:
        ConfigError: A configuration is invalid, or has several models.
        IncompatibleWeightsError: A file is neither a checkpoint nor a configuration.
        RequestError: An address of the Hub is not that of a model.
    """
    if path := existing_path(source):
        if path.is_file() and path.suffix.lower() in YAML_SUFFIXES:
            return _configured(path)
        if path.is_file() and not _may_be_checkpoint(path):
            formats = ", ".join(sorted(CHECKPOINT_SUFFIXES))
            message = f"{path} is neither a checkpoint nor a configuration."
            raise IncompatibleWeightsError(message, hint=f"Checkpoints are files in {formats}; configurations .yaml.")
        return ModelConfig(name=path.stem if path.is_file() else path.name, model=str(path))
    if is_hub_id(source):
        return ModelConfig(name=source, model=source)
    repo, _, revision = source_of(source).partition("@")
    return ModelConfig(name=repo, model=repo, revision=revision or None) if parse_address(source) else None


def _configured(file: Path) -> ModelConfig:
    """Return the only model of a configuration file."""
    parsed = read_models(file)
    problems = [*parsed.problems]
    resolved = [resolve_sources(entry, file.parent) for entry in parsed.entries]
    problems += [problem for _, found in resolved for problem in found]
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or (problems and not resolved):
        raise ConfigError(str((errors or problems)[0]), hint=f"`octabox check {file}` lists all problems.")
    names = [entry.config.name for entry, _ in resolved]
    if len(names) != 1:
        message = f"{file} has {len(names)} models." if names else f"{file} has no model."
        hint = f"Name one of them, with --models {file.parent}: {', '.join(names)}." if names else "Set `model` in it."
        raise ConfigError(message, hint=hint, choices=names)
    return resolved[0][0].config


def _may_be_checkpoint(file: Path) -> bool:
    """Return whether a file may be a checkpoint: by its suffix, or as files in the Hub's cache, by its first bytes."""
    if file.suffix.lower() in CHECKPOINT_SUFFIXES:
        return True
    try:
        return read_file(file, _LENGTH + 1)[_LENGTH:] == _HEADER
    except OSError:
        return True  # The loading states why.
