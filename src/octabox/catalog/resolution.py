"""Decide which pipeline class is meant: by its name, by a task, or by what a model's own files say.

Nothing here imports diffusers; the answers are names. `octabox.catalog.loading` turns them into classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.tasks import tag_of
from octabox.errors import IncompatibleWeightsError, PipelineNotFoundError, TaskNotFoundError, nearest
from octabox.hub.folder import INDEX_FILES, folder_index


def resolve_pipeline_name(
    class_name: str | None = None,
    task: str | None = None,
    model_id: str | None = None,
    *,
    catalog: Catalog | None = None,
) -> str:
    """Return the name of the pipeline class that is meant.

    Args:
        class_name: Its name; decides where it is given.
        task: A task by any of its names, or a family such as ``stable-diffusion-xl``.
        model_id: A folder or a repository of the Hub, whose own index decides; with a task, the sibling that serves it.
        catalog: What there is to choose from.

    Raises:
        PipelineNotFoundError: No pipeline has this name, or nothing was given.
        TaskNotFoundError: No task or family has this name, or the model cannot do it.
        DownloadError: The repository's index cannot be had.
    """
    catalog = catalog or load_catalog()
    if class_name:
        if class_name in catalog.pipelines or class_name in catalog.automatic.values():
            return class_name
        raise catalog.no_pipeline(class_name)
    if model_id:
        own = pipeline_from_model(model_id, catalog)
        return catalog.for_task(task, like=own).name if task and own in catalog.pipelines else own
    if task:
        return pipeline_for_task(task, catalog)
    raise PipelineNotFoundError("No pipeline is named.", hint="Give one of class_name, task and model_id.")


def pipeline_for_task(task: str, catalog: Catalog) -> str:
    """Return the class for a task or a family alone: diffusers' own choosing class, where it has one for the task."""
    tag = tag_of(task) or (task if task in catalog.tasks() else None)
    if tag is not None:
        return catalog.automatic.get(tag) or catalog.for_task(tag).name
    family = catalog.family(task)
    if family is not None:
        return family.name
    like = nearest(task, (*catalog.tasks(), *catalog.families()))
    hint = f"Did you mean {' or '.join(like)}?" if like else f"Available tasks: {', '.join(catalog.tasks())}."
    raise TaskNotFoundError(f"Unknown task {task!r}.", hint=hint, choices=like or catalog.tasks())


def pipeline_from_index(
    model_index: Mapping[str, Any], catalog: Catalog | None = None, *, source: str = "The model"
) -> str:
    """Return the class that a model's index names.

    Args:
        model_index: The content of its ``model_index.json`` or ``modular_model_index.json``.
        catalog: What there is to choose from.
        source: How an error calls the model.
    """
    catalog = catalog or load_catalog()
    name = model_index.get("_class_name")
    if isinstance(name, list):
        hint = (
            "It brings code of its own. If you have read it and trust it, put its file into the folder `pipelines` of the "
            "models folder, name its class as `pipeline`, and its repository under `allow_remote_code`; "
            "or name a class of diffusers."
        )
        raise PipelineNotFoundError(f"{source} names the class {name!r}, which is not of diffusers.", hint=hint)
    if not isinstance(name, str) or not name:
        raise PipelineNotFoundError(
            f"{source} names no pipeline class (_class_name).", hint="Name the class to load it with."
        )
    if name not in catalog.pipelines:
        raise catalog.no_pipeline(name)
    return name


def pipeline_from_model(model_id: str, catalog: Catalog | None = None) -> str:
    """Return the class of a model: as its own index says; only where it has none, as the Hub's tag suggests."""
    from octabox.hub import repository as hub  # noqa: PLC0415 (slow to import, and not needed for a name or a task)

    catalog = catalog or load_catalog()
    if Path(model_id).exists() or not hub.is_hub_id(model_id):
        return pipeline_from_index(folder_index(Path(model_id)), catalog, source=model_id)
    index = hub.repository_index(model_id)
    if index is not None:
        return pipeline_from_index(index, catalog, source=model_id)
    tag = hub.pipeline_tag(model_id)
    if tag is None:
        hint = "Name the pipeline class; for a single file, with from_single_file."
        raise IncompatibleWeightsError(f"{model_id} has no {INDEX_FILES[0]}, so its pipeline is not known.", hint=hint)
    return pipeline_for_task(tag, catalog)
