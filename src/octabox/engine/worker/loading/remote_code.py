"""Let code that a model's files bring run only where the configuration names its repository and revision."""

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
from octabox.hub.folder import index_file
from octabox.hub.repository import model_index


def may_run_code(config: ModelConfig, source: str) -> bool:
    """Tell whether code that a repository or folder brings may run; nothing of it is read for that but its index.

    Args:
        config: The model's configuration.
        source: Folder or Hub id.

    Raises:
        RemoteCodeError: It brings code, and the configuration does not name it at this revision.
    """
    local = os.path.isdir(source)  # noqa: PTH112 (pathlib raises on odd paths)
    if local and index_file(Path(source)) is None:
        return False
    if _is_named(config, source, local=local):
        if not local and config.revision is None:
            raise RemoteCodeError(
                f"Model '{config.name}': code of {source} may run, but nothing says in which revision.",
                hint="Set `revision:` to a commit or a tag; what is on a branch changes.",
                model=config.name,
            )
        return True
    found = _code(model_index(source, config.revision), set(config.components), Path(source))
    if found:
        entry = f"{{repo: {source}}}" if local else f"{{repo: {source}, revision: {config.revision or 'COMMIT'}}}"
        raise RemoteCodeError(
            f"Model '{config.name}': {source} brings code of its own ({', '.join(found)}), which is not run.",
            hint=f"If you have read it and trust it, write `allow_remote_code: [{entry}]` and the same `revision:`.",
            model=config.name,
        )
    return False


def _is_named(config: ModelConfig, source: str, *, local: bool) -> bool:
    """Tell whether the configuration allows the code of this source, at the revision that is loaded."""
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


def _code(index: Mapping[str, Any], given: set[str], folder: Path) -> list[str]:
    """Return the files of code that an index names, save those of components that come from elsewhere.

    Args:
        index: What the index says, by component.
        given: Components that come from elsewhere.
        folder: Where the files lie, if they lie here.
    """
    own = index.get("_class_name")
    found = [f"{own[0]}.py"] if isinstance(own, list) else []
    for part, entry in index.items():
        if part.startswith("_") or part in given or not isinstance(entry, list) or not entry:
            continue
        library = entry[0]
        if isinstance(library, str) and library not in LOADABLE_CLASSES and not hasattr(pipelines, library):
            file = f"{part}/{library}.py"
            is_installed = len(entry) > 1 and _is_announced(library, str(entry[1]))
            if not is_installed or (folder / file).exists():
                found.append(file)
    if isinstance(index.get("auto_map"), dict):
        found += sorted({f"{str(name).partition('.')[0]}.py" for name in index["auto_map"].values()})
    return found


def _is_announced(module: str, name: str) -> bool:
    """Tell whether a module is one of a plugin's, which who runs the server has put here, and has this class."""
    return load_catalog().metadata.ancestors.get(name, ("",))[0] == module
