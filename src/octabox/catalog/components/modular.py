"""Find the components that the index of a modular model names, with their folders on this machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.components.faults import Ancestors, find_component_faults
from octabox.hub.cache_layout import repository_of
from octabox.hub.component_files import FileFault, IndexedComponent
from octabox.hub.folder import INDEX_FILES, index_components, is_hub_id

#: Keys of the source of a component in the index of a modular model.
SOURCE, SUBFOLDER = "pretrained_model_name_or_path", "subfolder"


def modular_places(
    folder: Path, index: Mapping[str, Any], ancestors: Ancestors
) -> Iterator[tuple[IndexedComponent, Path]]:
    """Yield the components of a modular model and their folders, which need not exist; those of the Hub are left out.

    Args:
        folder: Folder of the model.
        index: The content of its index.
        ancestors: All classes of diffusers.
    """
    for name, (library, cls) in index_components(index).items():
        spec = index[name][2] if len(index[name]) > 2 else None  # noqa: PLR2004 (library, class, source)
        if not cls or not isinstance(spec, Mapping) or not spec.get(SOURCE):
            continue
        source, subfolder = str(spec[SOURCE]), str(spec.get(SUBFOLDER) or "").strip("/")
        own = repository_of(folder)
        is_own = was_moved(folder, name, source) or (own is not None and own.repo == source)
        place = (folder if is_own else Path(source)) / subfolder
        if place.is_dir() or not is_hub_id(source):
            yield IndexedComponent(name, library or "", cls, ancestors.get(cls, ())[1:], INDEX_FILES[1]), place


def find_modular_faults(
    folder: Path, index: Mapping[str, Any], ancestors: Ancestors, variant: str | None, omit: Collection[str]
) -> Iterator[FileFault]:
    """Yield what prevents the components of a modular model on this machine from being loaded.

    Args:
        folder: Folder of the model.
        index: The content of its index.
        ancestors: All classes of diffusers.
        variant: Variant of the weights to look for.
        omit: Components that come from another source.
    """
    places = [each for each in modular_places(folder, index, ancestors) if each[0].name not in omit]
    for part, place in places:
        if not place.is_dir():
            message = f"There is no folder {place}, which {part.index} names for {part.name}."
            hint = f"put a folder {part.name} into {folder}, or set a source for the component under `components`"
            yield FileFault(part.name, message, hint)
    yield from find_component_faults(places, ancestors, variant)


def was_moved(folder: Path, name: str, source: str) -> bool:
    """Return whether the folder of a model was moved since its index was written.

    Args:
        folder: The folder.
        name: Name of a component in it.
        source: The source of the component in the index: a folder or a Hub id.
    """
    path = Path(source)
    return (folder / name).is_dir() and path.is_absolute() and not path.is_dir()
