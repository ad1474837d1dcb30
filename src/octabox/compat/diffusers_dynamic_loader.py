"""LocalAI's module ``diffusers_dynamic_loader``: the same names, signatures, kinds of error and beginnings of messages.

It answers from the catalog, so that a name or a task is resolved without importing more than the class that is meant, and a
task resolves to the class that Octabox serves it with. Only the registries import every class, since they hold the classes.

The contract is that of LocalAI's ``backend/python/diffusers/diffusers_dynamic_loader.py`` (version 4.4).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from octabox.catalog import loading
from octabox.catalog.pipelines import BASE, Catalog, load_catalog
from octabox.catalog.resolution import class_aliases, component_aliases, resolve_pipeline_name
from octabox.catalog.tasks import vocabulary
from octabox.errors import NotFoundError, OctaboxError

__all__ = [
    "discover_diffusers_classes",
    "get_available_classes",
    "get_available_pipelines",
    "get_available_tasks",
    "get_pipeline_info",
    "get_pipeline_registry",
    "get_task_aliases",
    "load_diffusers_pipeline",
    "resolve_pipeline_class",
]

#: How many names a message lists, and how many characters of a docstring `get_pipeline_info` returns.
MAX_NAMES, MAX_DOCSTRING = 20, 200


def discover_diffusers_classes(base_class_name: str, include_base: bool = True) -> dict[str, type]:
    """Return the classes of diffusers that inherit from a class, by name; the same dictionary on every call.

    Classes that lack a dependency are left out.

    Args:
        base_class_name: Name of the class, such as ``SchedulerMixin``.
        include_base: Whether the class itself is among them.

    Raises:
        ValueError: Diffusers has no such class.
    """
    return _discover(base_class_name, include_base=include_base)


@cache
def _discover(base_class_name: str, *, include_base: bool) -> dict[str, type]:
    base = _base_class(base_class_name)
    found = {name: kind for name, kind in _subclasses(base_class_name).items() if kind is not base}
    return {base_class_name: base, **found} if include_base else found


def _base_class(name: str) -> type:
    try:
        return loading.import_class(name)
    except (KeyError, OctaboxError):
        raise ValueError(f"Could not find base class '{name}' in diffusers") from None


def _subclasses(name: str) -> dict[str, type]:
    try:
        return loading.discover_diffusers_classes(name)
    except NotFoundError:  # It has none.
        return {}


def get_available_classes(base_class_name: str) -> list[str]:
    """Return the names of a class and of those that inherit from it, in order."""
    return sorted(discover_diffusers_classes(base_class_name))


@cache
def get_pipeline_registry() -> dict[str, type]:
    """Return every pipeline class by name, with `DiffusionPipeline` and the classes that choose one for a task."""
    automatic = {name: loading.import_class(name) for name in load_catalog().automatic.values()}
    return {**discover_diffusers_classes(BASE), **automatic}


@cache
def get_task_aliases() -> dict[str, list[str]]:
    """Return the names of the classes for each task, alias, family, variant and component; the one it resolves to first."""
    catalog = load_catalog()
    by_task = {task: _first(catalog, task, [each.name for each in catalog.ranking(task)]) for task in catalog.tasks()}
    by_alias = {alias: by_task[tag] for alias, tag in vocabulary().aliases.items() if tag in by_task}
    families = {
        name: _first(catalog, name, [each.name for each in catalog.pipelines.values() if each.family == name])
        for name in (*class_aliases(catalog), *catalog.families())
    }
    return {**component_aliases(catalog), **families, **by_alias, **by_task}


def _first(catalog: Catalog, task: str, names: list[str]) -> list[str]:
    """Return names with the one in front that a task resolves to."""
    first = resolve_pipeline_name(task=task, catalog=catalog)
    return [first, *(name for name in names if name != first)]


def get_available_pipelines() -> list[str]:
    """Return the names of all pipeline classes, in order."""
    return sorted(get_pipeline_registry())


def get_available_tasks() -> list[str]:
    """Return all that may be given as a task, in order."""
    return sorted(get_task_aliases())


def resolve_pipeline_class(class_name: str | None = None, task: str | None = None, model_id: str | None = None) -> type:
    """Return the class of this name, else the one for a task, else the one that a model's index names.

    Args:
        class_name: Name of a pipeline class, in any case.
        task: A task, one of its aliases, or a family.
        model_id: A folder or a repository of the Hub; where its class is unknown, `DiffusionPipeline` reads it.

    Raises:
        ValueError: There is no such class or task, or none of the three is given.
    """
    if class_name:
        return loading.import_class(_exact_name(class_name))
    if task:
        try:
            return loading.import_class(resolve_pipeline_name(task=task.replace("_", "-")))
        except NotFoundError as error:
            raise ValueError(f"Unknown task '{task}'. Available tasks: {_some(get_available_tasks())}") from error
    if model_id:
        try:
            return loading.import_class(resolve_pipeline_name(model_id=model_id))
        except OctaboxError:
            return loading.import_class(BASE)
    raise ValueError(
        "Must provide at least one of: class_name, task, or model_id. "
        f"Available pipelines: {_some(_names())} Available tasks: {_some(get_available_tasks())}"
    )


def load_diffusers_pipeline(
    class_name: str | None = None,
    task: str | None = None,
    model_id: str | None = None,
    from_single_file: bool = False,
    **kwargs: Any,
) -> Any:
    """Return a pipeline, loaded by the class that is meant.

    Args:
        class_name: Name of its class, in any case.
        task: A task, one of its aliases, or a family, where no class is named.
        model_id: A folder, a repository of the Hub, or a file.
        from_single_file: Whether ``model_id`` is one file with all weights.
        **kwargs: For ``from_pretrained`` or ``from_single_file``.

    Raises:
        ValueError: No class is meant, or ``model_id`` is missing.
        RuntimeError: The model cannot be loaded.
    """
    kind = resolve_pipeline_class(class_name, task, model_id)
    if model_id is None:
        raise ValueError("model_id is required to load a pipeline")
    try:
        if from_single_file and not hasattr(kind, "from_single_file"):
            raise ValueError(f"Pipeline class {kind.__name__} does not support from_single_file().")  # noqa: TRY301
        return loading.load_pipeline(kind, model_id, from_single_file=from_single_file, **kwargs)
    except Exception as error:
        raise RuntimeError(
            f"Failed to load pipeline '{kind.__name__}' from '{model_id}': {error}\n"
            f"Available pipelines: {_some(_names())}"
        ) from error


def get_pipeline_info(class_name: str) -> dict[str, Any]:
    """Return the name of a pipeline class, its aliases, whether it loads single files, and how its docstring begins.

    Raises:
        ValueError: There is no pipeline of this name.
    """
    if class_name not in _names():
        raise ValueError(f"Unknown pipeline: {class_name}")
    kind = loading.import_class(class_name)
    return {
        "name": class_name,
        "aliases": [alias for alias, names in get_task_aliases().items() if class_name in names],
        "supports_single_file": hasattr(kind, "from_single_file"),
        "docstring": kind.__doc__[:MAX_DOCSTRING] if kind.__doc__ else None,
    }


@cache
def _names() -> tuple[str, ...]:
    """Return the names of all pipeline classes that may be named, without importing any."""
    return tuple(sorted({BASE, *loading.get_available_pipelines()}))


def _exact_name(name: str) -> str:
    by_lower = {each.lower(): each for each in _names()}
    exact = name if name in _names() else by_lower.get(name.lower())
    if exact is None:
        raise ValueError(f"Unknown pipeline class '{name}'. Available pipelines: {_some(_names())}")
    return exact


def _some(names: list[str] | tuple[str, ...]) -> str:
    return f"{', '.join(names[:MAX_NAMES])}..."
