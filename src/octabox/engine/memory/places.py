"""Find the files of a configured model and of its components on this machine, without network access."""

from __future__ import annotations

from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.folder import is_hub_id
from octabox.hub.snapshots import find_snapshot


def model_path(config: ModelConfig) -> Path | None:
    """Return the folder or file that the worker loads a model from; None if it is not on this machine."""
    path = Path(config.model)
    if path.exists() or not is_hub_id(config.model):
        return path if path.exists() else None
    omit = {name for name, part in config.parts() if part.model or part.omit}
    return find_snapshot(config.model, config.revision, variant=config.variant, omit=omit)


def component_path(source: str) -> Path | None:
    """Return the folder or file of a component with another source; None if it is not on this machine."""
    path = Path(source)
    if path.exists() or not is_hub_id(source):
        return path if path.exists() else None
    repository = CachedRepo(source)
    commit = repository.commit()
    folder = None if commit is None else repository.snapshot(commit)
    return folder if folder is not None and folder.is_dir() else None
