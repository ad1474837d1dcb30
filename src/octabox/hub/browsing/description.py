"""Describe a model of the Hub by its files, its index and the headers of its weights, without downloading it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from huggingface_hub import ModelInfo

from octabox.errors import (
    GatedModelError,
    IncompatibleWeightsError,
    InvalidParameterError,
    ModelNotFoundError,
    OctaboxError,
)
from octabox.hub.adapters.adapter_file import kind_of_shapes
from octabox.hub.browsing.memory import Machine, Weights, fits, remote_weights
from octabox.hub.cache_layout import RemoteFile
from octabox.hub.checkpoints.families import match_family
from octabox.hub.pulls.needed import PullRequest, needed_files
from octabox.hub.pulls.plan import read_info, remote_file
from octabox.hub.repository import remote_index
from octabox.hub.responses.fields import count_of, mapping_of, printable, text_of, texts_of
from octabox.hub.selection import SINGLE_FILE_KINDS, RepoKind, kind_of_repository, weight_names

#: Kinds that are used together with a model, whatever their tensors are.
_ADDITIONS: frozenset[RepoKind] = frozenset({"lora", "embedding", "component"})

#: Returns whether a pipeline class can be served.
IsServed = Callable[[str], bool]


@dataclass(frozen=True)
class FoundModel:
    """A model on the Hub.

    Args:
        name: Its id.
        kind: What it is; None if that could not be read.
        task: Its task tag.
        pipeline: Its pipeline class, if known.
        size: Bytes of the files that would be downloaded; of one file if there are several to choose from; None if they
            could not be read.
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
        error: Code of the error where the Hub did not answer about it, such as ``rate_limited``; the other fields are then
            those of the list.
    """

    name: str
    kind: RepoKind | None
    task: str | None
    pipeline: str | None
    size: int | None
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
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def describe_model(
    repo: str, machine: Machine, is_served: IsServed, revision: str | None = None, *, headers: bool = True
) -> FoundModel:
    """Return what is known about a model without downloading it; its index and headers of its weights are requested.

    Args:
        repo: Its id.
        machine: The memory of this machine.
        is_served: Returns whether a pipeline class can be served.
        revision: Branch, tag or commit; None is the default branch.
        headers: Whether headers are requested; without them, parameters and memory are None.

    Raises:
        OctaboxError: The repository cannot be read.
    """
    info = read_info(repo, revision)
    files = {each.path: each for each in map(remote_file, info.siblings or ())}
    kind = kind_of_repository(files, info.tags or ())
    commit = info.sha or ""
    needed, choices = _needed_files(PullRequest(repo, revision), files, info.tags or (), commit)
    weights = remote_weights(repo, commit, needed) if commit and headers else None
    if kind in SINGLE_FILE_KINDS and weights and weights.shapes:
        kind = kind_of_shapes(weights.shapes) or kind
    pipeline = _pipeline_of(info, weights)
    return FoundModel(
        name=repo,
        kind=kind,
        pipeline=pipeline,
        size=sum({each.digest: each.size for each in needed}.values()),
        files=len(needed),
        parameters=weights.count if weights else None,
        dtype=weights.dtype if weights else None,
        served=_is_usable(kind, pipeline, weights, is_served),
        fits=fits(weights, machine),
        memory=weights.memory(accelerator=machine.accelerator) if weights else None,
        commit=commit,
        choices=choices,
        **_listed(info),
    )


def unread_model(info: ModelInfo, error: OctaboxError) -> FoundModel:
    """Return what the list of models states of one that the Hub did not answer about.

    Args:
        info: Its entry in the list.
        error: Why it could not be read.
    """
    return FoundModel(
        name=info.id,
        kind=None,
        pipeline=None,
        size=None,
        files=0,
        parameters=None,
        dtype=None,
        served=None,
        fits=None,
        memory=None,
        commit=info.sha or "",
        error=error.code or "download_failed",
        **_listed(info),
    )


def _listed(info: ModelInfo) -> dict[str, Any]:
    """Return the fields that the Hub states of a model, in its list as well."""
    card: Any = info.card_data
    return {
        "task": text_of(info.pipeline_tag),
        "licence": text_of(getattr(card, "license", None)) or _tagged(texts_of(info.tags), "license:"),
        "gated": bool(info.gated),
        "downloads": count_of(info.downloads),
        "likes": count_of(info.likes),
        "updated": info.last_modified.date().isoformat() if info.last_modified else None,
    }


def _needed_files(
    request: PullRequest, files: Mapping[str, RemoteFile], tags: Collection[str], commit: str
) -> tuple[list[RemoteFile], tuple[str, ...]]:
    """Return the files that a download of a request would fetch, and those to choose from.

    Of a model whose index cannot be read, since it is gated or invalid, each folder is taken for a component.
    """

    def read_index() -> Mapping[str, Any] | None:
        try:
            return remote_index(request.repo, commit, files)
        except (GatedModelError, IncompatibleWeightsError):
            folders = {name.partition("/")[0] for name in files if "/" in name}
            return {name: ["", name] for name in folders}

    choices = weight_names(files)
    try:
        selected, kind = needed_files(request, files, tags, read_index)
    except (InvalidParameterError, ModelNotFoundError):
        selected, kind = choices[:1], "other"  # A file must be chosen, or there is none.
    is_folder = kind in ("diffusers", "component")
    return [files[name] for name in selected], () if is_folder or len(choices) == 1 else tuple(choices)


def _pipeline_of(info: ModelInfo, weights: Weights | None) -> str | None:
    """Return the pipeline class of a model: as the Hub read it from the index, or by the tensors of a single file."""
    name = mapping_of(mapping_of(info.config).get("diffusers")).get("_class_name")
    if isinstance(name, str):
        return printable(name)
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
    return next((printable(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix)), None)
