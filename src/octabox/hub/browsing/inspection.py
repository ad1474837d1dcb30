"""Describe a model in detail: on the Hub, in the cache, in a folder or in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from octabox.errors import DownloadError, ModelNotFoundError, OctaboxError
from octabox.hub.browsing.cached_models import component_names, state_of
from octabox.hub.browsing.description import IsServed, describe_model
from octabox.hub.browsing.memory import Machine, Weights, fits, local_weights
from octabox.hub.cache_layout import CachedRepo
from octabox.hub.checkpoints.families import match_family
from octabox.hub.folder import folder_index, index_file, is_hub_id
from octabox.hub.pulls.addresses import source_of
from octabox.hub.pulls.links import kind_of_file
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import UNAVAILABLE, make_plan
from octabox.hub.responses.fields import text_of
from octabox.hub.selection import kind_of_repository, select_files
from octabox.hub.snapshots import missing_by_index
from octabox.security.filesystem import existing_path, read_file
from octabox.security.json_files import read_json

#: Maximum number of bytes that are read of the card of a model.
MAX_CARD = 1_000_000

#: Returns the tasks of a pipeline class.
TasksOf = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class Inspection:
    """What is known about a model.

    Args:
        name: The Hub id, folder or file.
        where: ``hub``, ``cache``, ``folder`` or ``file``.
        kind: What it is.
        pipeline: Its pipeline class or family.
        served: Whether it can be used here; None if that is not known.
        tasks: Its tasks, the default first.
        components: Class of each component.
        parameters: Number of its parameters.
        dtype: Dtype of most parameters.
        size: Bytes of its files; on the Hub of those that would be downloaded.
        memory: Bytes of memory that it needs here.
        fits: Whether it fits into the memory.
        licence: Its licence.
        prediction_type: What its denoiser predicts, if its scheduler states it.
        missing: Files that it lacks.
        choices: Files to choose from.
        gated: Whether it requires an agreement.
        revision: Its commit.
    """

    name: str
    where: str
    kind: str
    pipeline: str | None = None
    served: bool | None = None
    tasks: tuple[str, ...] = ()
    components: Mapping[str, str] = field(default_factory=dict)
    parameters: int | None = None
    dtype: str | None = None
    size: int = 0
    memory: int | None = None
    fits: str | None = None
    licence: str | None = None
    prediction_type: str | None = None
    missing: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    gated: bool = False
    revision: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def inspect_model(source: str, machine: Machine, is_served: IsServed, tasks_of: TasksOf) -> Inspection:
    """Return what is known about a Hub id, a folder or a file.

    Raises:
        OctaboxError: There is no such model, or it cannot be read.
    """
    path = existing_path(source)
    if path and path.is_dir():
        return _local(source, "folder", path, machine, is_served, tasks_of)
    if path and path.is_file():
        return _local_file(source, path, machine, is_served, tasks_of)
    return inspect_repository(source, machine, is_served, tasks_of)


def inspect_repository(source: str, machine: Machine, is_served: IsServed, tasks_of: TasksOf) -> Inspection:
    """Return what is known about a Hub id; a model in the cache is described without the Hub, other files if it is not there.

    Raises:
        OctaboxError: There is no such model, or it cannot be read.
    """
    repo, _, revision = source_of(source).partition("@")
    if not is_hub_id(repo):
        hint = "Specify a Hub id such as ORG/REPO, a folder or a file."
        raise ModelNotFoundError(f"There is no model {source!r}.", hint=hint, model=source)
    cached = CachedRepo(repo)
    commit = cached.commit(revision or None)
    folder = cached.snapshot(commit) if commit is not None else None
    if commit is None or folder is None or not any(each.is_file() for each in folder.rglob("*")):
        return _remote(repo, revision or None, machine, is_served, tasks_of)
    if not index_file(folder):
        # What there is to choose from, only the Hub knows.
        try:
            return _remote(repo, revision or None, machine, is_served, tasks_of)
        except DownloadError as error:
            if error.code not in UNAVAILABLE:
                raise
    found = _local(source, "cache", folder, machine, is_served, tasks_of)
    kind, missing = state_of(repo, commit, folder)
    return Inspection(**{**asdict(found), "kind": kind, "missing": missing, "revision": commit})


def _remote(repo: str, revision: str | None, machine: Machine, is_served: IsServed, tasks_of: TasksOf) -> Inspection:
    """Return what is known about a model on the Hub."""
    found = describe_model(repo, machine, is_served, revision)
    pipeline, components, prediction = found.pipeline, dict[str, str](), None
    if found.kind == "diffusers":
        try:
            plan = make_plan(PullRequest(repo, revision))
        except OctaboxError:
            pass  # A gated model shows no index.
        else:
            components = component_names(plan.folder)
            pipeline = pipeline or _class_of(plan.folder)
            prediction = _prediction_type(plan.folder)
    served = is_served(pipeline) if pipeline and found.served is not False else found.served
    return Inspection(
        name=repo,
        where="hub",
        kind=found.kind or "other",
        pipeline=pipeline,
        served=served,
        tasks=tasks_of(pipeline) if pipeline and served else (),
        components=components,
        parameters=found.parameters,
        dtype=found.dtype,
        size=found.size or 0,
        memory=found.memory,
        fits=found.fits,
        licence=found.licence,
        prediction_type=prediction,
        choices=found.choices,
        gated=found.gated,
        revision=found.commit,
    )


def _local(name: str, where: str, folder: Path, machine: Machine, is_served: IsServed, tasks_of: TasksOf) -> Inspection:
    """Return what is known about a folder."""
    files = {each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()}
    kind = kind_of_repository(files)
    index = folder_index(folder) if index_file(folder) else None
    needed = select_files([*files], index) if kind in ("diffusers", "component") else [*files]
    pipeline = _class_of(folder)
    weights = local_weights(files[each] for each in needed)
    served = is_served(pipeline) if pipeline else None
    return Inspection(
        name=name,
        where=where,
        kind=kind,
        pipeline=pipeline,
        served=served,
        tasks=tasks_of(pipeline) if pipeline and served else (),
        components=component_names(folder),
        size=sum(each.stat().st_size for each in files.values()),
        licence=_licence_of(folder),
        prediction_type=_prediction_type(folder),
        missing=missing_by_index(folder, index) if index else (),
        **_described(weights, machine),
    )


def _local_file(name: str, file: Path, machine: Machine, is_served: IsServed, tasks_of: TasksOf) -> Inspection:
    """Return what is known about a file."""
    weights = local_weights([file])
    family = match_family(weights.shapes) if weights and weights.shapes else None
    pipeline = family.pipeline or None if family else None
    served = is_served(pipeline) if pipeline else None
    if weights and not weights.supported:
        served = False
    missing = family.missing(weights.shapes) if family and weights else ()
    return Inspection(
        name=name,
        where="file",
        kind=kind_of_file(file, "other"),
        pipeline=pipeline,
        served=served,
        tasks=tasks_of(pipeline) if pipeline and served else (),
        components=dict.fromkeys(family.parts or (), "") if family else {},
        size=file.stat().st_size,
        missing=missing,
        **_described(weights, machine),
    )


def _described(weights: Weights | None, machine: Machine) -> dict[str, Any]:
    """Return the fields about weights."""
    if weights is None:
        return {}
    memory = weights.memory(accelerator=machine.accelerator)
    return {"parameters": weights.count, "dtype": weights.dtype, "memory": memory, "fits": fits(weights, machine)}


def _class_of(folder: Path) -> str | None:
    """Return the pipeline class in the index of a folder; that of custom code is not one."""
    try:
        name = folder_index(folder).get("_class_name") if index_file(folder) else None
    except OctaboxError:
        return None
    return name if isinstance(name, str) else None


def _prediction_type(folder: Path) -> str | None:
    """Return what the denoiser of a model predicts, as its scheduler states."""
    for file in sorted(folder.glob("*/scheduler_config.json")):
        try:
            value = read_json(file).get("prediction_type")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(value, str):
            return value
    return None


def _licence_of(folder: Path) -> str | None:
    """Return the licence in the card of a model."""
    try:
        text = read_file(folder / "README.md", MAX_CARD).decode(errors="replace")
        if not text.startswith("---"):
            return None
        # Its nodes, not its data: building the data of a card whose aliases refer to aliases would take forever.
        card = yaml.compose(text.removeprefix("---").split("\n---")[0], Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    entries = card.value if isinstance(card, yaml.MappingNode) else []
    node = next((value for key, value in entries if key.value == "license"), None)
    return text_of([each.value for each in _scalars(node) if each.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG])


def _scalars(node: yaml.Node | None) -> list[yaml.ScalarNode]:
    """Return a scalar, or those of a list."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [each for each in nodes if isinstance(each, yaml.ScalarNode)]
