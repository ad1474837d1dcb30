"""Load classes of diffusers by name, by task or by model; a class is imported on first use."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from octabox.catalog.dependencies import TORCH_COMPANIONS, dependencies_of, install_command, is_installed
from octabox.catalog.pipelines import PACKAGE, load_catalog
from octabox.catalog.plugins import prepare_import
from octabox.catalog.reading.packages import known_packages
from octabox.catalog.reading.syntax import PLACEHOLDER_METACLASS
from octabox.catalog.resolution import class_aliases, component_aliases, resolve_pipeline_name
from octabox.catalog.tasks import vocabulary
from octabox.errors import IncompatibleWeightsError, LoadError, MissingDependencyError, PipelineNotFoundError, nearest

logger = logging.getLogger(__name__)

#: Module in whose packages diffusers looks for the component classes of single pipelines.
PIPELINES = f"{PACKAGE}.pipelines"

#: Module with the base classes by which diffusers chooses how to load a component.
LOADING = f"{PIPELINES}.pipeline_loading_utils"


def get_available_pipelines() -> list[str]:
    """Return the names of all pipeline classes, auto pipeline classes included."""
    catalog = load_catalog()
    return sorted({*catalog.pipelines, *catalog.automatic.values()})


def get_available_tasks() -> list[str]:
    """Return all accepted task names: Hub tags, their aliases, and what class names give: families, variants, components."""
    catalog = load_catalog()
    served = set(catalog.tasks())
    aliases = {name for name, tag in vocabulary().aliases.items() if tag in served}
    return sorted({*served, *aliases, *catalog.families(), *class_aliases(catalog), *component_aliases(catalog)})


def get_available_classes(base_class_name: str) -> list[str]:
    """Return the names of all classes of diffusers that inherit from a base class, without importing them."""
    ancestors = load_catalog().metadata.ancestors
    if base_class_name not in ancestors:
        like = nearest(base_class_name, ancestors)
        hint = (
            f"Did you mean {' or '.join(like)}?"
            if like
            else "SchedulerMixin, ModelMixin and DiffusionPipeline are some."
        )
        raise PipelineNotFoundError(f"Unknown base class {base_class_name!r}.", hint=hint, choices=like)
    return sorted(
        name for name, (_, *bases) in ancestors.items() if base_class_name in bases and name != base_class_name
    )


def discover_diffusers_classes(base_class_name: str) -> dict[str, type]:
    """Return all classes of diffusers that inherit from a base class, by name; those with missing dependencies are skipped."""
    found: dict[str, type] = {}
    for name in get_available_classes(base_class_name):
        try:
            found[name] = import_class(name)
        except MissingDependencyError as error:
            logger.debug("Skipped %s: %s", name, error)
    return found


def resolve_pipeline_class(class_name: str | None = None, task: str | None = None, model_id: str | None = None) -> type:
    """Return a pipeline class by its name, by a task or family, or by the index of a model.

    Raises:
        PipelineNotFoundError: No pipeline has this name. A ValueError, with similar names.
        TaskNotFoundError: No task has this name, or the model does not support it. A ValueError.
    """
    return import_class(resolve_pipeline_name(class_name, task, model_id))


def load_diffusers_pipeline(
    class_name: str | None = None,
    task: str | None = None,
    model_id: str | None = None,
    from_single_file: bool = False,
    **kwargs: Any,
) -> Any:
    """Load a pipeline.

    Args:
        class_name: Its class.
        task: A task or a family, if no class is given.
        model_id: A folder or a Hub repository; with ``from_single_file``, a checkpoint file.
        from_single_file: Whether ``model_id`` is a single checkpoint file.
        **kwargs: Passed to ``from_pretrained`` or ``from_single_file``: ``torch_dtype``, ``dtype`` ...
    """
    if not model_id:
        raise PipelineNotFoundError(
            "No model is specified.", hint="Set model_id to a folder, a Hub repository or a file."
        )
    cls = resolve_pipeline_class(class_name, task, None if from_single_file else model_id)
    return load_pipeline(cls, model_id, from_single_file=from_single_file, **kwargs)


def load_pipeline(cls: Any, model_id: str, *, from_single_file: bool, **kwargs: Any) -> Any:
    """Load a pipeline of a class from a folder or a Hub repository, or from a single checkpoint file.

    Raises:
        IncompatibleWeightsError: The class does not support single files.
    """
    if not from_single_file:
        return cls.from_pretrained(model_id, **kwargs)
    if not hasattr(cls, "from_single_file"):
        raise IncompatibleWeightsError(
            f"{cls.__name__} cannot be loaded from a single file.", hint="Use a folder or a repository."
        )
    return cls.from_single_file(model_id, **kwargs)


def check_packages(name: str, parts: Iterable[str] | None = ()) -> None:
    """Check that all packages that a class always needs can be imported.

    Args:
        name: A pipeline or a scheduler class; any other name needs no packages.
        parts: Class names of the components of the model; None for the annotations of the constructor.

    Raises:
        MissingDependencyError: Some packages are not installed, or cannot be imported; the message lists them all.
    """
    catalog = load_catalog()
    entry = catalog.pipelines.get(name) or catalog.schedulers.get(name)
    needed = [need for need in dependencies_of(entry, parts) if need.certain] if entry else []
    absent = [need.name for need in needed if not is_installed(need.module)]
    imported = [
        need for need in needed if need.name not in absent and need.module not in known_packages()["imported_apart"]
    ]
    broken = {need.name: reason for need in imported if (reason := _import_failure(need.module))}
    if not absent and not broken:
        return
    reasons = [f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"] if absent else []
    reasons += [f"{package} is installed but cannot be imported ({reason})" for package, reason in broken.items()]
    hint = f"Run `{install_command((*absent, *broken))}`."
    if unfit := [package for package in broken if package not in TORCH_COMPANIONS]:
        hint += f" For {', '.join(unfit)}, install the build for the installed version of torch."
    raise MissingDependencyError(f"{name} needs more packages: {'; '.join(reasons)}.", hint=hint)


def _import_failure(module: str) -> str:
    """Return why a module cannot be imported; empty if it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (an incompatible package may raise any error)
        return _reason(error) or type(error).__name__
    return ""


def import_class(name: str) -> type:
    """Import a class of diffusers or of a plugin by its name; models saved with a pipeline class can then be loaded with it.

    Raises:
        MissingDependencyError: The class, or a package that it needs, cannot be imported.
        LoadError: The source of a plugin raises an error.
    """
    check_packages(name)
    module = load_catalog().metadata.ancestors[name][0]
    if module.partition(".")[0] != PACKAGE:
        return _import_plugin(name, module)
    try:
        found = getattr(importlib.import_module(PACKAGE), name, None)
        found = found if found is not None else getattr(importlib.import_module(module), name)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise MissingDependencyError(
            f"{name} cannot be imported: {_reason(error)}", hint="Install the missing package."
        ) from error
    assert isinstance(found, type)  # noqa: S101 (the catalog lists classes only)
    if type(found).__name__ == PLACEHOLDER_METACLASS:
        raise MissingDependencyError(f"{name} lacks a dependency.", hint=_missing_backend(found))
    if name in load_catalog().pipelines:
        _show_component_classes(found)
    return found


def _show_component_classes(pipeline: type) -> None:
    """Let diffusers find the component classes of a pipeline where the index of a model may name them.

    An index names a class by the last package of its module if `diffusers.pipelines` has a package of that name, else by its
    library. Modules that have moved since the model was saved, as those of deprecated pipelines did, are in neither place.
    """
    library, pipelines = importlib.import_module(PACKAGE), importlib.import_module(PIPELINES)
    for found in _component_classes(pipeline):
        package = found.__module__.rpartition(".")[0]
        parent, _, name = package.rpartition(".")
        has_moved = parent.startswith(f"{PIPELINES}.")
        if has_moved and not hasattr(pipelines, name):
            setattr(pipelines, name, importlib.import_module(package))
        places = [getattr(pipelines, name, None), library if has_moved else None]
        for place in places:
            if isinstance(place, ModuleType) and getattr(place, found.__name__, None) is None:
                setattr(place, found.__name__, found)
        if has_moved:
            _show_bases(library, found)


def _show_bases(library: ModuleType, component: type) -> None:
    """Let diffusers find the base class of a component by which it chooses how to load it, in the same library."""
    known = importlib.import_module(LOADING).ALL_IMPORTABLE_CLASSES
    for base in component.__mro__[1:]:
        if base.__name__ in known and getattr(library, base.__name__, None) is None:
            setattr(library, base.__name__, base)


def _component_classes(pipeline: type) -> Iterator[type]:
    """Yield the classes with weights or settings that the module of a pipeline class, or of one of its bases, has."""
    modules = [sys.modules[base.__module__] for base in pipeline.__mro__ if base.__module__ in sys.modules]
    for module in dict.fromkeys(modules):
        for value in list(vars(module).values()):
            # A placeholder for a missing dependency raises an error at any access.
            if (
                isinstance(value, type)
                and type(value).__name__ != PLACEHOLDER_METACLASS
                and hasattr(value, "from_pretrained")
            ):
                yield value


def import_component_classes(names: Iterable[str]) -> None:
    """Import the component classes that plugins define; diffusers accepts components only from imported modules."""
    ancestors = load_catalog().metadata.ancestors
    for name in names:
        if name in ancestors and ancestors[name][0].partition(".")[0] != PACKAGE:
            import_class(name)


def _import_plugin(name: str, module: str) -> type:
    """Import a class of a plugin."""
    prepare_import(module)
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} of {module} cannot be imported: {_reason(error)}", hint="Install the missing package."
        ) from error
    except Exception as error:
        raise LoadError(
            f"{name} of {module} cannot be imported: {type(error).__name__}: {_reason(error)}", hint="Fix its source."
        ) from error
    assert isinstance(found, type)  # noqa: S101 (the catalog lists classes only)
    return found


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _missing_backend(placeholder: type) -> str:
    """Return the message of diffusers about a missing backend, which its placeholder class raises."""
    try:
        placeholder()
    except ImportError as error:
        return " ".join(str(error).split())
    return ""
