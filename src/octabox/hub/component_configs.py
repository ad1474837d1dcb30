"""Where the configuration of a component is whose weights are a single file, and the errors where it cannot be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.errors import LoadError, OctaboxError
from octabox.hub.adapters.controls import DENOISERS
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.component_files import read_settings
from octabox.hub.folder import is_hub_id

#: Base class of the classes of diffusers that are loaded from a single file.
SINGLE_FILE = "FromOriginalModelMixin"


def find_config(file: str, source: str, subfolder: str) -> dict[str, str]:
    """Return the arguments of `from_single_file` for the configuration of a component; empty if there is none.

    Without one, diffusers guesses a model by the names of the tensors, and takes the configuration of that.

    Args:
        file: The weight file, which may have a ``config.json`` next to it.
        source: Folder or Hub id of the complete model; another source has no configuration of the component.
        subfolder: Folder of the component in it.
    """
    if Path(file).with_name("config.json").is_file():
        return {"config": str(Path(file).parent)}
    folder = Path(source)
    if (folder / subfolder).is_dir() or (not folder.exists() and is_hub_id(source)):
        return {"config": source, "subfolder": subfolder}
    return {}


def denoiser_config(source: str) -> Mapping[str, Any]:
    """Return the configuration of the denoiser of a model; empty if it is not on this machine.

    Args:
        source: Folder or single file of the model.
    """
    path = Path(source)
    if path.is_dir():
        return next((found for name in DENOISERS if (found := read_settings(path / name / "config.json"))), {})
    try:
        family = match_family(read_shapes(path)) if path.is_file() else None
    except (OctaboxError, OSError):
        return {}  # Loading the model reports it.
    if family is None or not family.configs:
        return {}
    return next((each for name in DENOISERS if (each := bundles.component_config(family.configs, name))), {})


def no_config_error(model: str, name: str, file: str) -> LoadError:
    """Return the error for a component whose configuration is not known.

    Args:
        model: Name of the model.
        name: Name of the component.
        file: Its weight file.
    """
    return LoadError(
        f"Model '{model}': the configuration of {name} in {file} is not known.",
        hint=f"Put its config.json next to it, or set a folder or Hub id for `components.{name}`.",
        model=model,
    )


def not_from_file_error(model: str, name: str) -> LoadError:
    """Return the error for a component whose class is not loaded from a single file.

    Args:
        model: Name of the model.
        name: Name of the component.
    """
    return LoadError(
        f"Model '{model}': the component '{name}' cannot be loaded from a single file.",
        hint="Set its source to a folder or a Hub id, or leave out its `quantization`.",
        model=model,
    )
