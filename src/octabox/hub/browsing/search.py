"""Search models on the Hub, and state what each is, how large it is, and whether it can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from huggingface_hub import ModelInfo

from octabox.errors import GatedModelError, ModelNotFoundError, OctaboxError
from octabox.hub.browsing.memory import Machine, Weights, fits, remote_weights
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.checkpoints.families import match_family
from octabox.hub.hub_errors import hub_error
from octabox.hub.hub_messages import RESPONSE_ERRORS, hub_api
from octabox.hub.pulls.plan import read_info, remote_file
from octabox.hub.selection import RepoKind, kind_of_repository, select_files, weight_names

#: Orders of results, and the Hub's names of them; sizes are compared here.
SORTS: dict[str, Literal["downloads", "likes", "last_modified"]] = {
    "downloads": "downloads",
    "likes": "likes",
    "updated": "last_modified",
    "size": "downloads",
}

#: Results that are described at the same time.
_PARALLEL = 8

#: Kinds that are used together with a model, whatever their tensors are.
_ADDITIONS: frozenset[RepoKind] = frozenset({"lora", "embedding", "component"})

#: Returns whether a pipeline class can be served.
IsServed = Callable[[str], bool]


@dataclass(frozen=True)
class Query:
    """A search.

    Args:
        words: Words of the name.
        task: Task tag.
        author: User or organization.
        sort: One of `SORTS`.
        limit: Maximum number of results.
        gated: Whether only gated models (True) or only others (False) are found; None finds all.
    """

    words: str = ""
    task: str | None = None
    author: str | None = None
    sort: str = "downloads"
    limit: int = 20
    gated: bool | None = None


@dataclass(frozen=True)
class FoundModel:
    """A model on the Hub.

    Args:
        name: Its id.
        kind: What it is.
        task: Its task tag.
        pipeline: Its pipeline class, if known.
        size: Bytes of the files that are needed; of one file if there are several to choose from.
        files: Number of these files.
        parameters: Number of its parameters, if known.
        dtype: Dtype of most parameters.
        licence: Its licence.
        gated: Whether it requires an agreement.
        downloads: Number of downloads in the last 30 days.
        likes: Number of likes.
        updated: Date of the last change.
        served: Whether it can be used here; None if that is not known before the download.
        fits: Whether it fits into the memory: ``yes``, ``offloaded`` or ``no``; None if that is not known.
        memory: Bytes of memory that it needs here.
        commit: Commit of the default branch.
        choices: Files to choose from.
    """

    name: str
    kind: RepoKind
    task: str | None
    pipeline: str | None
    size: int
    files: int
    parameters: int | None
    dtype: str | None
    licence: str | None
    gated: bool
    downloads: int
    likes: int
    updated: str | None
    served: bool | None
    fits: str | None
    memory: int | None
    commit: str
    choices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def search_models(query: Query, machine: Machine, is_served: IsServed) -> list[FoundModel]:
    """Return the models that a query finds.

    Raises:
        OctaboxError: The Hub cannot be reached, or refuses the request.
    """
    try:
        infos = list(
            hub_api().list_models(
                search=query.words or None,
                author=query.author,
                pipeline_tag=query.task,
                gated=query.gated,
                sort=SORTS[query.sort],
                limit=query.limit,
            )
        )
    except RESPONSE_ERRORS as error:
        raise hub_error(error, "the list of models") from error

    def describe(info: ModelInfo) -> FoundModel | None:
        try:
            return describe_model(info.id, machine, is_served)
        except OctaboxError as error:
            if isinstance(error, ModelNotFoundError | GatedModelError) or error.code == "model_disabled":
                return None  # It was removed, disabled or made private since the list was made.
            raise

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = [each for each in pool.map(describe, infos) if each is not None]
    return sorted(found, key=lambda each: -each.size) if query.sort == "size" else found


def describe_model(repo: str, machine: Machine, is_served: IsServed, revision: str | None = None) -> FoundModel:
    """Return what is known about a model without downloading it; headers of its weights are requested.

    Raises:
        OctaboxError: The repository cannot be read.
    """
    info = read_info(repo, revision)
    files = {each.path: each for each in map(remote_file, info.siblings or ())}
    kind = kind_of_repository(files, info.tags or ())
    selected, choices = _needed_files(kind, files)
    needed = [files[name] for name in selected]
    commit = info.sha or ""
    weights = remote_weights(repo, commit, needed) if commit else None
    pipeline = _pipeline_of(info, weights)
    card: Any = info.card_data
    return FoundModel(
        name=repo,
        kind=kind,
        task=info.pipeline_tag,
        pipeline=pipeline,
        size=sum(each.size for each in needed),
        files=len(needed),
        parameters=weights.count if weights else None,
        dtype=weights.dtype if weights else None,
        licence=getattr(card, "license", None) or _tagged(info.tags or (), "license:"),
        gated=bool(info.gated),
        downloads=info.downloads or 0,
        likes=info.likes or 0,
        updated=info.last_modified.date().isoformat() if info.last_modified else None,
        served=_is_usable(kind, pipeline, weights, is_served),
        fits=fits(weights, machine),
        memory=weights.memory(accelerator=machine.accelerator) if weights else None,
        commit=commit,
        choices=choices,
    )


def _needed_files(kind: RepoKind, files: dict[str, RemoteFile]) -> tuple[list[str], tuple[str, ...]]:
    """Return the files that would be downloaded, and those to choose from, without reading the index."""
    names = [*files]
    if kind == "diffusers":
        folders = {name.partition("/")[0] for name in names if "/" in name}
        return select_files(names, {name: ["", name] for name in folders}), ()
    if kind == "component":
        return select_files(names, None), ()
    found = weight_names(names)
    return found[:1], tuple(found) if len(found) > 1 else ()


def _pipeline_of(info: ModelInfo, weights: Weights | None) -> str | None:
    """Return the pipeline class of a model: as the Hub read it from the index, or by the tensors of a single file."""
    config = info.config or {}
    name = (config.get("diffusers") or {}).get("_class_name")
    if isinstance(name, str):
        return name
    family = match_family(weights.shapes) if weights and weights.shapes else None
    return family.pipeline or None if family else None


def _is_usable(kind: RepoKind, pipeline: str | None, weights: Weights | None, is_served: IsServed) -> bool | None:
    """Return whether a model can be used here; None if that is not known before the download."""
    if (
        kind == "checkpoint" and weights and not weights.supported
    ):  # In a folder, a configuration may state how to read them.
        return False
    if pipeline is not None:
        return is_served(pipeline)
    return True if kind in _ADDITIONS else False if kind == "other" else None


def _tagged(tags: Sequence[str], prefix: str) -> str | None:
    """Return the value of the first tag with a prefix."""
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)), None)
