"""Find the problems of models that their files show before weights are read: what loading would fail with.

Unlike a wrong configuration they may go away while the server runs, so a model with such a problem is still listed, and
its files are looked at again each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from octabox.catalog.components.faults import PACKAGE, are_related, code_file, find_component_faults, indexed_components
from octabox.catalog.components.modular import find_modular_faults
from octabox.catalog.dependencies import dependencies_of, install_command, is_installed
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.annotations import parse_annotation
from octabox.config.model import MODEL_REPOSITORY, ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import KeyPath, Problem
from octabox.engine.memory.places import model_path
from octabox.errors import OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.checkpoints.weight_scales import check_scales
from octabox.hub.component_files import FileFault, IndexedComponent, find_missing_folders
from octabox.hub.component_widths import find_channel_faults, find_width_faults
from octabox.hub.folder import CHECKPOINT_SUFFIXES, folder_index, index_components, index_file, is_hub_id
from octabox.hub.limits import check_model_files
from octabox.hub.weights import weight_files
from octabox.service.checks.adapters import find_adapter_problems
from octabox.service.checks.component_sources import find_single_file_problems
from octabox.service.checks.schedulers import find_scheduler_problems
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.served_model import ServedModel

#: Resolves a model to its pipeline class.
Resolve = Callable[[ModelConfig, Catalog], ServedModel]


def find_model_problems(
    entry: Entry, catalog: Catalog, resolve: Resolve, adapters: AdapterRegistry
) -> Iterator[Problem]:
    """Yield the problems of the files of a model on this machine; of one in the Hub's cache, those of its default sizes.

    Args:
        entry: Its configuration, with absolute sources; LoRAs by their files.
        catalog: All pipelines and schedulers.
        resolve: Resolves the model to its class.
        adapters: The LoRAs of the server.
    """
    unreadable = list(_check_sources(entry))
    yield from unreadable
    source, path = Path(entry.config.model), model_path(entry.config)
    if path is None or any(each.key == "model" for each in unreadable):
        return
    config = entry.config
    if not source.exists():  # Without the network, its class is that of the snapshot.
        config = config.model_copy(update={"model": str(path), "revision": None})
    try:
        model = resolve(config, catalog)
    except OctaboxError as error:
        yield _problem_of(entry, ("pipeline",) if entry.config.pipeline else ("model",), error)
        return
    yield from _check_sizes(entry, model.pipeline)
    if not source.exists():
        return  # The Hub's files are complete, and as their authors published them.
    yield from _check_packages(entry, model.pipeline)
    yield from find_single_file_problems(entry, model.pipeline, catalog)
    if source.is_file():
        yield from _check_file(entry, model.pipeline)
    elif index_file(source) is not None:
        check = _check_modular if model.pipeline.modular else _check_folder
        yield from check(entry, model.pipeline, catalog)
    yield from find_scheduler_problems(entry, model, catalog)
    yield from find_adapter_problems(entry, model.pipeline, catalog, adapters)


def _problem_of(entry: Entry, key: KeyPath, error: OctaboxError) -> Problem:
    """Return the problem of a field that loading would raise an error about."""
    return entry.problem(key, error.message.removeprefix(f"Model '{entry.config.name}': "), error.hint)


def _check_sources(entry: Entry) -> Iterator[Problem]:
    """Check that each single file can be read, and that no folder exceeds a limit of its files."""
    config = entry.config
    sources: list[tuple[KeyPath, str | None]] = [(("model",), config.model), (("config",), config.config)]
    sources += [(("components", name, "model"), part.model) for name, part in config.parts()]
    for key, source in sources:
        if source is None or is_hub_id(source):
            continue
        if not Path(source).exists():
            # That of the model is found with its configuration.
            if key != ("model",):
                message = f"There is no {Path(source).name!r} in the models folder."
                yield entry.problem(key, message, "put it there, or use a Hub id")
            continue
        try:
            check_model_files(source)
            if Path(source).suffix.lower() in CHECKPOINT_SUFFIXES:
                check_scales(Path(source))
        except (OctaboxError, OSError) as error:
            if isinstance(error, OctaboxError):
                yield _problem_of(entry, key, error)
            else:
                yield entry.problem(
                    key, f"{error.filename or source} cannot be read: {error.strerror}.", "fix or remove it"
                )


def _check_sizes(entry: Entry, pipeline: PipelineEntry) -> Iterator[Problem]:
    """Check that the default sizes are multiples of what the class requires of this model."""
    sizes = ModelSizes(pipeline, entry.config)
    for rule in pipeline.sizes:
        multiple = None if rule.rounded else sizes.multiple(rule)
        for name in rule.parameters:
            value = entry.config.defaults.get(name)
            if multiple and isinstance(value, int) and (value - rule.offset) % multiple:
                nearest = max(round((value - rule.offset) / multiple), 1) * multiple + rule.offset
                offset = f" plus {rule.offset}" if rule.offset else ""
                message = f"'{name}' must be a multiple of {multiple}{offset} for {pipeline.name}, not {value}."
                yield entry.problem(("defaults", name), message, f"use {nearest}")


def _check_packages(entry: Entry, pipeline: PipelineEntry) -> Iterator[Problem]:
    """Check that the packages that a class and the components of the model always need are installed."""
    try:
        classes = [cls for _, cls in index_components(folder_index(Path(entry.config.model))).values() if cls]
    except OctaboxError:
        classes = None
    needs = [each.name for each in dependencies_of(pipeline, classes) if each.certain and not is_installed(each.module)]
    if needs:
        message = f"{pipeline.name} needs more packages: {', '.join(needs)} {'is' if len(needs) == 1 else 'are'} not installed."
        yield entry.problem(("pipeline",), message, f"run `{install_command(needs)}`")


def _check_file(entry: Entry, pipeline: PipelineEntry) -> Iterator[Problem]:
    """Check that the class of a single file can be loaded from one; files of a denoiser need no such class."""
    if not pipeline.single_file and pipeline.package == PACKAGE and entry.config.config is None:
        message = f"{pipeline.name} cannot be loaded from a single file."
        yield entry.problem(("model",), message, "set `config` to the complete model, or convert it to a folder")


def _check_folder(entry: Entry, pipeline: PipelineEntry, catalog: Catalog) -> Iterator[Problem]:
    """Check the folder of a model: its components, their files and their classes."""
    config, folder = entry.config, Path(entry.config.model)
    index = index_components(folder_index(folder))
    elsewhere = {name for name, part in config.parts() if part.model or part.omit}
    known = {part.name for part in pipeline.components if part.saved}
    parts = indexed_components(index, known - elsewhere, catalog.metadata.ancestors)
    faults = list(find_missing_folders(folder, parts, known - pipeline.required_components))
    present = [part for part in parts if (folder / part.name).is_dir()]
    places = [(part, folder / part.name) for part in present]
    faults += find_component_faults(places, catalog.metadata.ancestors, config.variant)
    names = [part.name for part in present]
    faults += (*find_width_faults(folder, names), *find_channel_faults(folder, names))
    for fault in (*faults, *_find_absent(entry, pipeline, index)):
        yield _fault_problem(entry, fault)
    yield from _check_variant(entry)
    yield from _check_code(entry, present, catalog)
    faulty = {fault.component for fault in faults}
    for part in present:
        if part.name not in faulty:
            yield from _check_class(entry, pipeline, part, catalog)


def _check_code(entry: Entry, parts: Iterable[IndexedComponent], catalog: Catalog) -> Iterator[Problem]:
    """Check that no component has code in the folder of the model, unless the configuration allows that."""
    folder = Path(entry.config.model)
    allowed = {MODEL_REPOSITORY, entry.config.model}
    if any(code.repo in allowed for code in entry.config.allow_remote_code):
        return
    files = [code_file(folder / part.name, part, catalog.metadata.ancestors) for part in parts]
    if found := [file for file in files if file is not None]:
        message = f"{folder} names code for its components ({', '.join(found)}), which is not allowed to run."
        hint = "if you have read it and trust it, set `allow_remote_code: true`"
        yield entry.problem(("model",), message, hint)


def _check_modular(entry: Entry, _pipeline: PipelineEntry, catalog: Catalog) -> Iterator[Problem]:
    """Check the components that the index of a modular model names on this machine."""
    folder, ancestors = Path(entry.config.model), catalog.metadata.ancestors
    index, config = folder_index(folder), entry.config
    for fault in find_modular_faults(folder, index, ancestors, config.variant, config.components):
        yield _fault_problem(entry, fault)


def _find_absent(
    entry: Entry, pipeline: PipelineEntry, index: dict[str, tuple[str | None, str | None]]
) -> Iterator[FileFault]:
    """Yield the components that the class requires and that neither the index nor the configuration has."""
    config = entry.config
    configured = {name for name, part in config.parts() if part.model or part.omit}
    for name in sorted(pipeline.required_components & {*config.omitted()}):
        yield FileFault(name, f"{pipeline.name} needs {name}, which is left out.", f"remove `{name}: null`")
    if config.pipeline is None:  # Another class than that of the folder is checked with the configuration.
        for name in sorted(pipeline.required_components - {*index, *configured}):
            message = f"{pipeline.name} needs {name}, which {config.model} does not have."
            yield FileFault(name, message, f"set `model` under `components: {name}` to a folder or Hub id")


def _fault_problem(entry: Entry, fault: FileFault) -> Problem:
    configured = fault.component in entry.config.components
    return entry.problem(("components", fault.component) if configured else ("model",), fault.message, fault.hint)


def _check_variant(entry: Entry) -> Iterator[Problem]:
    """Check that a component has weights of the configured variant."""
    variant = entry.config.variant
    if variant is None:
        return
    found = {file.variant for file in weight_files(Path(entry.config.model))}
    if found and variant not in found:
        names = sorted(each for each in found if each)
        hint = f"it has {', '.join(names)}" if names else "remove `variant`"
        yield entry.problem(("variant",), f"No weights of {entry.config.model} are of the variant {variant!r}.", hint)


def _check_class(entry: Entry, pipeline: PipelineEntry, part: IndexedComponent, catalog: Catalog) -> Iterator[Problem]:
    """Check that the pipeline takes a component of this class."""
    ancestors = catalog.metadata.ancestors
    if part.package != PACKAGE or part.cls not in ancestors:
        return
    annotation = next((each.annotation for each in pipeline.components if each.name == part.name), "")
    expected = [name for name in parse_annotation(annotation).leaves if name in ancestors]
    if (
        expected
        and "SchedulerMixin" not in part.bases
        and not any(are_related(part.cls, name, ancestors) for name in expected)
    ):
        names = " or ".join(sorted(expected))
        message = f"{pipeline.name} takes {names} as its {part.name}, and the model has {part.cls}."
        yield entry.problem(("model",), message, "set `pipeline` to the class that the model was made for", "warning")
