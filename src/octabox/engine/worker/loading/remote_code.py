"""Allow a model's remote code to run only if the configuration names its repository and revision."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import pipelines
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import MODEL_REPOSITORY, ModelConfig
from octabox.errors import RemoteCodeError
from octabox.hub.folder import index_components, index_file
from octabox.hub.repository import model_index


def may_run_code(config: ModelConfig, source: str) -> bool:
    """Return whether the code of a repository or folder may run. Only its index is read.

    Args:
        config: The model's configuration.
        source: Folder or Hub id.

    Raises:
        RemoteCodeError: The source contains code that the configuration does not allow at this revision.
    """
    local = os.path.isdir(source)  # noqa: PTH112 (pathlib raises on odd paths)
    if local and index_file(Path(source)) is None:
        return False
    if _is_allowed(config, source, local=local):
        if not local and config.revision is None:
            raise RemoteCodeError(
                f"Model '{config.name}': the code of {source} is allowed, but no `revision` is set.",
                hint="Set `revision:` to a commit or a tag, since a branch can change.",
                model=config.name,
            )
        return True
    files = _code_files(model_index(source, config.revision), set(config.components), Path(source))
    if files:
        entry = f"{{repo: {source}}}" if local else f"{{repo: {source}, revision: {config.revision or 'COMMIT'}}}"
        raise RemoteCodeError(
            f"Model '{config.name}': {source} contains code ({', '.join(files)}), which is not allowed to run.",
            hint=f"If you have read it and trust it, set `allow_remote_code: [{entry}]` and the same `revision:`.",
            model=config.name,
        )
    return False


def _is_allowed(config: ModelConfig, source: str, *, local: bool) -> bool:
    """Return whether the configuration allows the code of this source at the loaded revision."""
    for entry in config.allow_remote_code:
        if entry.repo == MODEL_REPOSITORY:
            same = source == config.model
        elif local:
            same = os.path.realpath(entry.repo) == os.path.realpath(source)
        else:
            same = entry.repo == source and entry.revision == config.revision
        if same:
            return True
    return False


def _code_files(index: Mapping[str, Any], configured: set[str], folder: Path) -> list[str]:
    """Return the Python files that an index names, without those of components from other sources.

    Args:
        index: Entries of the index by component.
        configured: Components that come from other sources.
        folder: Folder of the files, if they are local.
    """
    pipeline = index.get("_class_name")
    files = [f"{pipeline[0]}.py"] if isinstance(pipeline, list) else []
    for name, (library, cls) in index_components(index).items():
        if name in configured or library is None or library in LOADABLE_CLASSES or hasattr(pipelines, library):
            continue
        file = f"{name}/{library}.py"
        if not _is_plugin_class(library, str(cls)) or (folder / file).exists():
            files.append(file)
    if isinstance(index.get("auto_map"), dict):
        files += sorted({f"{str(name).partition('.')[0]}.py" for name in index["auto_map"].values()})
    return files


def _is_plugin_class(module: str, name: str) -> bool:
    """Return whether a module of an installed plugin has this class."""
    return load_catalog().metadata.ancestors.get(name, ("",))[0] == module
