"""Find what prevents the components of a model from being loaded, by their files and the classes of the installed libraries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from octabox.catalog.components.transformers_source import is_known_class, vocabulary_files
from octabox.catalog.dependencies import is_installed
from octabox.errors import nearest
from octabox.hub.component_files import FileFault, IndexedComponent, find_file_faults, read_settings

#: Package of the classes that the catalog knows, and that of text encoders, tokenizers and processors.
PACKAGE, TRANSFORMERS = "diffusers", "transformers"

#: Packages whose models and processors are components.
LIBRARIES = (PACKAGE, TRANSFORMERS)

#: What a noise scheduler is, and how the names of such components end.
SCHEDULER: Literal["scheduler"] = "scheduler"

#: Argument of a tokenizer for the file that has everything.
_COMPLETE = "tokenizer_file"

#: Ancestors of each class of diffusers and of plugins, after the module that defines it.
Ancestors = Mapping[str, Sequence[str]]


def indexed_components(
    index: Mapping[str, tuple[str | None, str | None]], names: Collection[str], ancestors: Ancestors
) -> list[IndexedComponent]:
    """Return components that the index of a model names.

    Args:
        index: Library and class of each component in the index.
        names: Names of the components to return, as far as the index has them.
        ancestors: All classes of diffusers.
    """
    return [
        IndexedComponent(name, library or "", cls, ancestors.get(cls, ())[1:])
        for name, (library, cls) in index.items()
        if cls and name in names
    ]


def component_in(folder: Path, name: str, ancestors: Ancestors) -> IndexedComponent:
    """Return the component in a folder that no index names: its class is that of its configuration, if it states one."""
    stated = read_settings(folder / "config.json").get("_class_name")
    if isinstance(stated, str) and stated in ancestors:
        return IndexedComponent(name, PACKAGE, stated, ancestors[stated][1:])
    return IndexedComponent(name, "transformers" if stated is None else PACKAGE, "")


def find_component_faults(
    places: Iterable[tuple[IndexedComponent, Path]], ancestors: Ancestors, variant: str | None = None
) -> Iterator[FileFault]:
    """Yield what is missing, damaged or of another class among the files of components.

    Args:
        places: The components with their folders.
        ancestors: All classes of diffusers.
        variant: Variant of the weights to look for.
    """
    for part, folder in places:
        if folder.is_dir():
            faults = list(_index_faults(folder, part, ancestors)) or list(find_file_faults(folder, part, variant))
            yield from faults or (*_config_faults(folder, part, ancestors), *_tokenizer_faults(folder, part))


def _index_faults(folder: Path, part: IndexedComponent, ancestors: Ancestors) -> Iterator[FileFault]:
    """Yield the library or the class of the index that does not exist."""
    if not part.cls:
        return
    if _is_known(part, ancestors):
        if part.name.endswith(SCHEDULER) and part.package == PACKAGE and part.kind != SCHEDULER:
            message = f"{part.cls}, which {part.index} names for {part.name}, is not a noise scheduler."
            yield FileFault(part.name, message)
        return
    place = f"which {part.index} names for {part.name}"
    if part.package in LIBRARIES or _has_pipelines(part.package, ancestors):
        library = part.package if part.package in LIBRARIES else PACKAGE
        like = nearest(part.cls, ancestors) if library == PACKAGE else ()
        hint = f"did you mean {' or '.join(like)}?" if like else f"install the version of {library} that has it"
        yield FileFault(part.name, f"There is no class {part.cls!r} in {library}, {place}.", hint)
    elif not (folder / f"{part.package}.py").is_file() and not is_installed(part.package):
        message = f"There is no library {part.package!r}, {place}."
        yield FileFault(part.name, message, f"it may be one of {' and '.join(LIBRARIES)}; fix {part.index}")


def code_file(folder: Path, part: IndexedComponent, ancestors: Ancestors) -> str | None:
    """Return the file of a model's own code that its index names for a component; None for classes that are installed.

    Args:
        folder: Folder of the component.
        part: The component.
        ancestors: All classes of diffusers and of plugins.
    """
    if not part.cls or part.package in LIBRARIES or _has_pipelines(part.package, ancestors):
        return None
    file = folder / f"{part.package}.py"
    is_plugin = ancestors.get(part.cls, ("",))[0] == part.package
    return None if is_plugin and not file.exists() else f"{part.name}/{file.name}"


def _is_known(part: IndexedComponent, ancestors: Ancestors) -> bool:
    """Return whether the class of a component exists in its library.

    Diffusers saves a class of transformers with the name of a package of pipelines, if that of its own package is the same.
    """
    if part.package == TRANSFORMERS:
        return is_known_class(part)
    return part.cls in ancestors or (_has_pipelines(part.package, ancestors) and is_known_class(part))


def _has_pipelines(package: str, ancestors: Ancestors) -> bool:
    """Return whether a package of diffusers' pipelines has this name, also one that was moved to those deprecated."""
    within = f"{PACKAGE}.pipelines."
    return any(
        package in module[len(within) :].split(".")[:-1]
        for module, *_ in ancestors.values()
        if module.startswith(within)
    )


def _config_faults(folder: Path, part: IndexedComponent, ancestors: Ancestors) -> Iterator[FileFault]:
    """Yield the class in the configuration of a component of diffusers that does not exist, or is another one."""
    file = folder / (part.config_file or "config.json")
    settings = read_settings(file)
    stated = settings.get("_class_name")
    # A class of custom code is allowed, or refused, with its repository.
    if part.package != PACKAGE or stated is None or "auto_map" in settings:
        return
    if not isinstance(stated, str) or stated not in ancestors:
        like = nearest(str(stated), ancestors)
        hint = f"did you mean {' or '.join(like)}?" if like else f"install the version of {PACKAGE} that has it"
        yield FileFault(part.name, f"There is no class {stated!r} in {PACKAGE}, which {file} names.", hint)
    elif part.kind == "model" and not are_related(part.cls, stated, ancestors):
        message = f"{folder} holds a {stated}, and {part.index} names {part.cls} for {part.name}."
        hint = (
            f"download the model again, or set `components: {{{part.name}: {{model: {folder}}}}}` to load the {stated}"
        )
        yield FileFault(part.name, message, hint)


def _tokenizer_faults(folder: Path, part: IndexedComponent) -> Iterator[FileFault]:
    """Yield the vocabulary files that a tokenizer lacks, without which some have a few tokens only."""
    if part.package != "transformers" or part.kind != "tokenizer":
        return
    names = {each.name for each in folder.iterdir() if each.is_file()}
    files = dict(vocabulary_files(part.cls))
    complete = files.pop(_COMPLETE, "tokenizer.json")
    missing = sorted(name for name in files.values() if name not in names)
    # Other formats of vocabularies are converted.
    if not missing or complete in names or any(name.endswith((".model", "tekken.json")) for name in names):
        return
    message = f"{folder} has no {' and no '.join(missing)}, and no {complete}: {part.cls} would have no vocabulary."
    yield FileFault(part.name, message)


def are_related(name: str, other: str, ancestors: Ancestors) -> bool:
    """Return whether one of two classes is the other one or inherits from it."""
    return name == other or other in ancestors[name][1:] or name in ancestors[other][1:]
