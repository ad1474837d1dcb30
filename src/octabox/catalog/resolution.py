"""Resolve the name of a pipeline class: from a class name, a task, or the index of a model.

Nothing here imports diffusers. `octabox.catalog.loading` imports the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.tasks import TEXT_TO_IMAGE, WORDS, count_extra_inputs, family_stem, normalize_name, tag_of
from octabox.errors import IncompatibleWeightsError, PipelineNotFoundError, TaskNotFoundError, nearest
from octabox.hub.folder import INDEX_FILES, folder_index


def resolve_pipeline_name(
    class_name: str | None = None,
    task: str | None = None,
    model_id: str | None = None,
    *,
    catalog: Catalog | None = None,
) -> str:
    """Return the name of a pipeline class.

    Args:
        class_name: Name of the class; takes precedence.
        task: A task by its tag or an alias, a family such as ``stable-diffusion-xl``, or a component such as ``controlnet``.
        model_id: A folder or a Hub repository, whose index names the class; with a task, the sibling that serves it.
        catalog: The catalog; by default that of the installed diffusers.

    Raises:
        PipelineNotFoundError: No pipeline has this name, or all arguments are missing.
        TaskNotFoundError: No task or family has this name, or the model does not support it.
        DownloadError: The index of the repository cannot be fetched.
    """
    catalog = catalog or load_catalog()
    if class_name:
        if class_name in catalog.pipelines or class_name in catalog.automatic.values():
            return class_name
        raise catalog.no_pipeline(class_name)
    if model_id:
        name = pipeline_from_model(model_id, catalog)
        return catalog.for_task(task, like=name).name if task and name in catalog.pipelines else name
    if task:
        return pipeline_for_task(task, catalog)
    raise PipelineNotFoundError("No pipeline is specified.", hint="Set class_name, task or model_id.")


def class_aliases(catalog: Catalog) -> tuple[str, ...]:
    """Return the names of all classes in the form of a family name, such as ``flux-control-net-inpaint``."""
    return tuple(sorted({family_stem(entry.name) for entry in catalog.pipelines.values() if not entry.modular}))


def component_aliases(catalog: Catalog) -> dict[str, list[str]]:
    """Return the classes that require a component and have it in their names, such as a ControlNet; the simplest first.

    The keys are the name of the component, and its words in the class names with hyphens: ``controlnet`` and ``control-net``.
    """
    ranked = [entry.name for task in (TEXT_TO_IMAGE, *catalog.tasks()) for entry in catalog.ranking(task)]
    entries = [catalog.pipelines[name] for name in dict.fromkeys((*ranked, *catalog.pipelines))]
    found: dict[str, list[str]] = {}
    for component in sorted({name for entry in entries for name in entry.required_components}):
        requiring = [
            entry for entry in entries if component in entry.required_components and _words_of(component, entry.name)
        ]
        words = {_words_of(component, entry.name) for entry in requiring}
        if requiring:
            plain = catalog.for_task(TEXT_TO_IMAGE).name if TEXT_TO_IMAGE in catalog.tasks() else entries[0].name
            simplest = catalog.siblings(plain, frozenset({component}))
            requiring.sort(key=lambda entry: entry not in simplest)
            found |= {alias: [entry.name for entry in requiring] for alias in (component, *sorted(words))}
    return found


def _words_of(component: str, class_name: str) -> str:
    """Return the words of a class name that are the name of a component, with hyphens; empty if there are none."""
    words = WORDS.findall(class_name)
    runs = (words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1))
    name = normalize_name(component)
    return next(("-".join(run).lower() for run in runs if "".join(run).lower() == name), "")


def pipeline_for_task(task: str, catalog: Catalog) -> str:
    """Return the class for a task (the auto pipeline class of diffusers, if it has one), for a family or for a component."""
    tag = tag_of(task) or (task if task in catalog.tasks() else None)
    if tag is not None:
        if tag in catalog.automatic:
            return catalog.automatic[tag]
        ranking = catalog.ranking(tag)
        complete = [entry for entry in ranking if not count_extra_inputs(entry, tag)]
        return (complete or ranking or [catalog.for_task(tag)])[0].name
    family = catalog.family(task)
    if family is not None:
        return family.name
    components = component_aliases(catalog)
    requiring = next(
        (names for alias, names in components.items() if normalize_name(alias) == normalize_name(task)), []
    )
    if requiring:
        return requiring[0]
    like = nearest(task, (*catalog.tasks(), *catalog.families(), *components))
    hint = f"Did you mean {' or '.join(like)}?" if like else f"Available tasks: {', '.join(catalog.tasks())}."
    raise TaskNotFoundError(f"Unknown task {task!r}.", hint=hint, choices=like or catalog.tasks())


def pipeline_from_index(
    model_index: Mapping[str, Any], catalog: Catalog | None = None, *, source: str = "The model"
) -> str:
    """Return the pipeline class that the index of a model names.

    Args:
        model_index: The content of ``model_index.json`` or ``modular_model_index.json``.
        catalog: The catalog; by default that of the installed diffusers.
        source: Name of the model in errors.
    """
    catalog = catalog or load_catalog()
    name = model_index.get("_class_name")
    if isinstance(name, list):
        hint = (
            "The model contains custom code. If you have read it and trust it, put its file into the folder `pipelines` of "
            "the models folder, set `pipeline` to its class, and list its repository under `allow_remote_code`; "
            "or set `pipeline` to a class of diffusers."
        )
        raise PipelineNotFoundError(f"{source} names the class {name!r}, which is not of diffusers.", hint=hint)
    if not isinstance(name, str) or not name:
        raise PipelineNotFoundError(
            f"The index of {source} has no pipeline class (_class_name).", hint="Specify the pipeline class."
        )
    if name not in catalog.pipelines:
        raise catalog.no_pipeline(name)
    return name


def pipeline_from_model(model_id: str, catalog: Catalog | None = None) -> str:
    """Return the pipeline class of a model, from its index or, if it has none, from its task tag on the Hub."""
    from octabox.hub import repository as hub  # noqa: PLC0415 (slow to import, and needed for models only)

    catalog = catalog or load_catalog()
    if Path(model_id).exists() or not hub.is_hub_id(model_id):
        return pipeline_from_index(folder_index(Path(model_id)), catalog, source=model_id)
    index = hub.repository_index(model_id)
    if index is not None:
        return pipeline_from_index(index, catalog, source=model_id)
    tag = hub.pipeline_tag(model_id)
    if tag is None:
        hint = "Specify the pipeline class; for a single file, with from_single_file."
        raise IncompatibleWeightsError(f"{model_id} has no {INDEX_FILES[0]}, so its pipeline is unknown.", hint=hint)
    return pipeline_for_task(tag, catalog)
