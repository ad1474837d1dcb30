"""Classes of diffusers by name, by task or by model, imported only when they are asked for."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from typing import Any

from octabox.catalog.dependencies import dependencies_of, is_installed
from octabox.catalog.pipelines import PACKAGE, load_catalog
from octabox.catalog.plugins import prepare_import
from octabox.catalog.reading.packages import known_packages
from octabox.catalog.reading.syntax import STAND_IN
from octabox.catalog.resolution import resolve_pipeline_name
from octabox.catalog.tasks import vocabulary
from octabox.errors import IncompatibleWeightsError, LoadError, MissingDependencyError, PipelineNotFoundError, nearest

logger = logging.getLogger(__name__)


def get_available_pipelines() -> list[str]:
    """Return the names of all pipeline classes, and of diffusers' classes that choose one for a task."""
    catalog = load_catalog()
    return sorted({*catalog.pipelines, *catalog.automatic.values()})


def get_available_tasks() -> list[str]:
    """Return all that may be given as a task: the Hub's tags, what people call them, and names of families."""
    catalog = load_catalog()
    served = set(catalog.tasks())
    aliases = {name for name, tag in vocabulary().aliases.items() if tag in served}
    return sorted({*served, *aliases, *catalog.families()})


def get_available_classes(base_class_name: str) -> list[str]:
    """Return the names of all classes of diffusers that inherit from this one, without importing any."""
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
    """Return all classes of diffusers that inherit from this one, by name, save those that lack a dependency."""
    found: dict[str, type] = {}
    for name in get_available_classes(base_class_name):
        try:
            found[name] = import_class(name)
        except MissingDependencyError as error:
            logger.debug("Left out %s: %s", name, error)
    return found


def resolve_pipeline_class(class_name: str | None = None, task: str | None = None, model_id: str | None = None) -> type:
    """Return the pipeline class that is meant, by its name, by a task or a family, or by a model's own index.

    Raises:
        PipelineNotFoundError: No pipeline has this name; it is a ValueError, and names the nearest.
        TaskNotFoundError: No task has this name, or the model cannot do it; it is a ValueError too.
    """
    return import_class(resolve_pipeline_name(class_name, task, model_id))


def load_diffusers_pipeline(
    class_name: str | None = None,
    task: str | None = None,
    model_id: str | None = None,
    from_single_file: bool = False,
    **kwargs: Any,
) -> Any:
    """Return a pipeline, loaded by the class that is meant.

    Args:
        class_name: Its class.
        task: A task or a family, where no class is named.
        model_id: A folder or a Hub repository; with ``from_single_file``, a checkpoint.
        from_single_file: Whether ``model_id`` is one file that holds everything.
        **kwargs: For ``from_pretrained`` or ``from_single_file``, as they are: ``torch_dtype`` or ``dtype`` ...
    """
    if not model_id:
        raise PipelineNotFoundError("No model is named.", hint="Give model_id: a folder, a Hub repository or a file.")
    if not from_single_file:
        return resolve_pipeline_class(class_name, task, model_id).from_pretrained(model_id, **kwargs)  # type: ignore[attr-defined]
    kind = resolve_pipeline_class(class_name, task)
    if not hasattr(kind, "from_single_file"):
        raise IncompatibleWeightsError(
            f"{kind.__name__} cannot be loaded from a single file.", hint="Use a folder or a repository."
        )
    return kind.from_single_file(model_id, **kwargs)


def check_packages(name: str, parts: Iterable[str] | None = ()) -> None:
    """Make sure that all packages are there that a class cannot do without; it imports those that are installed.

    Args:
        name: A pipeline or a scheduler; any other name needs nothing.
        parts: Names of the classes that its model is made of; None for those that its constructor is annotated with.

    Raises:
        MissingDependencyError: Some are not installed, or do not import; it names them all.
    """
    catalog = load_catalog()
    entry = catalog.pipelines.get(name) or catalog.schedulers.get(name)
    needed = [need for need in dependencies_of(entry, parts) if need.certain] if entry else []
    absent = [need.name for need in needed if not is_installed(need.module)]
    tried = [
        need for need in needed if need.name not in absent and need.module not in known_packages()["imported_apart"]
    ]
    broken = {need.name: reason for need in tried if (reason := _failure(need.module))}
    if not absent and not broken:
        return
    reasons = [f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"] if absent else []
    reasons += [f"{package} is installed but cannot be imported ({reason})" for package, reason in broken.items()]
    install = " ".join(f'"{package}"' for package in (*absent, *broken))
    advice = f"Run `pip install {install}`."
    if broken:
        advice += f" Of {', '.join(broken)}, take the build that is made for the installed torch."
    raise MissingDependencyError(f"{name} needs more packages: {'; '.join(reasons)}.", hint=advice)


def _failure(module: str) -> str:
    """Return why a module cannot be imported; nothing where it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (a package that does not fit the others fails in any way)
        return _reason(error) or type(error).__name__
    return ""


def import_class(name: str) -> type:
    """Return a class of diffusers or of a plugin by its name, importing no more than its own module.

    Raises:
        MissingDependencyError: It, or a package that it needs, cannot be imported.
        LoadError: The source of a plugin fails.
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
            f"{name} cannot be imported: {_reason(error)}", hint="Install what is missing."
        ) from error
    assert isinstance(found, type)  # noqa: S101 (the catalog lists classes only)
    if type(found).__name__ == STAND_IN:
        raise MissingDependencyError(f"{name} lacks a dependency.", hint=_advice(found))
    return found


def import_component_classes(names: Iterable[str]) -> None:
    """Import those classes that are of plugins; diffusers takes components from no other module than one that is imported."""
    ancestors = load_catalog().metadata.ancestors
    for name in names:
        if name in ancestors and ancestors[name][0].partition(".")[0] != PACKAGE:
            import_class(name)


def _import_plugin(name: str, module: str) -> type:
    """Return a class that is not of diffusers."""
    prepare_import(module)
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} of {module} cannot be imported: {_reason(error)}", hint="Install what is missing."
        ) from error
    except Exception as error:
        raise LoadError(
            f"{name} of {module} cannot be imported: {type(error).__name__}: {_reason(error)}", hint="Mend its source."
        ) from error
    assert isinstance(found, type)  # noqa: S101 (the catalog lists classes only)
    return found


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _advice(stand_in: type) -> str:
    """Return what diffusers says of a missing dependency, which it does when its stand-in is used."""
    try:
        stand_in()
    except ImportError as error:
        return " ".join(str(error).split())
    return ""
