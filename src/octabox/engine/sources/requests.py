"""Derive from a configuration what its model needs of the Hub: the model itself, components, LoRAs and IP-Adapters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import EntryNotFoundError

from octabox.config.model import ComponentConfig, IPAdapterConfig, ModelConfig
from octabox.hub.checkpoints.families import holds_denoiser_only, match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.folder import (
    CHECKPOINT_SUFFIXES,
    INDEX_FILES,
    folder_index,
    index_components,
    index_file,
    is_hub_id,
)
from octabox.hub.pulls.copies import find_copy
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import PullPlan, make_plan
from octabox.hub.repository import model_index
from octabox.hub.responses.errors import hub_error
from octabox.types import AdapterChoice

#: The component that encodes the images of IP-Adapters.
IMAGE_ENCODER = "image_encoder"

#: Key of the source of a component in the index of a modular model.
_SOURCE = "pretrained_model_name_or_path"


def is_remote(source: str | None) -> bool:
    """Return whether a source is a Hub id, not a file or folder of this machine."""
    return source is not None and is_hub_id(source) and not os.path.exists(source)  # noqa: PTH110 (pathlib raises)


def plan_downloads(config: ModelConfig) -> Iterator[PullPlan]:
    """Yield the plan of each download that a model needs; nothing for what is complete in the cache.

    Complete copies are not compared with the Hub; `octabox pull` updates them.

    Raises:
        OctaboxError: Something cannot be downloaded.
    """
    for request in hub_requests(config):
        if (plan := plan_request(request)) is not None:
            yield plan


def plan_request(request: PullRequest) -> PullPlan | None:
    """Return the plan of a download; None if everything is in the cache.

    Raises:
        OctaboxError: It cannot be downloaded, or a model is not in the format of diffusers.
    """
    if find_copy(request) is not None:
        return None
    plan = make_plan(request)
    if not request.is_part and plan.kind != "diffusers":
        raise hub_error(EntryNotFoundError(INDEX_FILES[0]), request.repo, request.revision)
    return plan


def hub_requests(config: ModelConfig) -> Iterator[PullRequest]:
    """Yield what a configuration needs of the Hub, the model first; later ones depend on its index.

    Raises:
        OctaboxError: A weight file or an index cannot be read.
    """
    if config.stages:
        return
    if is_remote(config.model):
        yield model_request(config)
    if has_remote_config(config):
        yield config_request(config)
    parts = [part_request(part) for _, part in config.parts() if is_remote(part.model)]
    yield from _merged([*parts, *modular_requests(config)])
    yield from (lora_request(each.lora) for each in config.adapters if is_remote(each.lora))
    yield from (ip_adapter_request(each, config) for each in config.ip_adapters if is_remote(each.model))


def adapter_requests(runs: Iterable[Iterable[AdapterChoice] | None]) -> Iterator[PullRequest]:
    """Yield what the LoRAs of runs need of the Hub; those of the configuration, which are None, are not included."""
    names = dict.fromkeys(choice.lora for run in runs for choice in run or ())
    yield from (lora_request(name) for name in names if is_remote(name))


def model_request(config: ModelConfig) -> PullRequest:
    """Return the request for the model of a configuration, without the components that come from elsewhere."""
    omit = tuple(sorted({name for name, part in config.parts() if part.model or part.omit}))
    return PullRequest(config.model, config.revision, variant=config.variant, omit=omit)


def has_remote_config(config: ModelConfig) -> bool:
    """Return whether a single file is completed by a model of the Hub; a network that is all in the file is not.

    Raises:
        OctaboxError: The file cannot be read.
    """
    if not is_remote(config.config) or Path(config.model).suffix.lower() not in CHECKPOINT_SUFFIXES:
        return False
    family = match_family(read_shapes(Path(config.model)))
    parts = (family and not family.part and family.parts) or {}
    return not parts or not all("" in prefixes for prefixes in parts.values())


def config_request(config: ModelConfig) -> PullRequest:
    """Return the request for the model that completes a single file: of what the file has, only the configuration.

    Raises:
        OctaboxError: The file or the index of the model cannot be read.
    """
    assert config.config is not None  # noqa: S101 (as the caller has checked)
    shapes = read_shapes(Path(config.model))
    family = match_family(shapes)
    index = index_components(model_index(config.config, config.revision))
    names = {name for name, (_, cls) in index.items() if cls}
    omit = {name for name, part in config.parts() if part.model or part.omit}
    missing = set(family.missing(shapes)) if family else set()
    parts = tuple(family.parts or ()) if family else ()
    if family and holds_denoiser_only(family, shapes, config.model, completed=True):
        missing = names - {family.part or next(iter(parts), "")}
    variant = config.variant
    return PullRequest(
        config.config,
        config.revision,
        variant=variant,
        omit=tuple(sorted(omit)),
        weightless=tuple(sorted(names - missing - omit)),
    )


def part_request(part: ComponentConfig) -> PullRequest:
    """Return the request for a component with its own source."""
    return PullRequest(str(part.model), folders=((part.subfolder or "").strip("/"),))


def modular_requests(config: ModelConfig) -> Iterator[PullRequest]:
    """Yield the requests for the components that the index of a modular model takes from other repositories."""
    for name, spec in modular_sources(config).items():
        source = str(spec[_SOURCE])
        if source != config.model and is_remote(source) and name not in config.components:
            folder = str(spec.get("subfolder") or "").strip("/")
            yield PullRequest(source, spec.get("revision"), variant=spec.get("variant"), folders=(folder,))


def modular_sources(config: ModelConfig) -> dict[str, Mapping[str, Any]]:
    """Return where the index of a modular model takes each component from; empty for other models."""
    if Path(config.model).is_dir():
        index = folder_index(Path(config.model)) if index_file(Path(config.model)) else {}
    elif is_remote(config.model):
        index = model_index(config.model, config.revision)
    else:
        return {}
    specs = {name: entry[2] for name, entry in index.items() if isinstance(entry, list) and len(entry) > 2}  # noqa: PLR2004 (library, class, source)
    return {name: spec for name, spec in specs.items() if isinstance(spec, Mapping) and spec.get(_SOURCE)}


def lora_request(source: str) -> PullRequest:
    """Return the request for a LoRA."""
    return PullRequest(source, adapter="lora")


def ip_adapter_request(part: IPAdapterConfig, config: ModelConfig) -> PullRequest:
    """Return the request for an IP-Adapter, and for its image encoder if the model has none."""
    folder = encoder_folder(part)
    with_encoder = folder is not None and not _has_image_encoder(config)
    return PullRequest(
        part.model,
        file=part.weight_name,
        adapter="ip_adapter",
        subfolder=part.subfolder.strip("/"),
        folders=(folder,) if folder is not None and with_encoder else (),
    )


def encoder_folder(part: IPAdapterConfig) -> str | None:
    """Return the folder of the image encoder in the source of an IP-Adapter; None if it has none."""
    folder = part.image_encoder_folder
    return folder if folder is None or "/" in folder else "/".join(filter(None, (part.subfolder.strip("/"), folder)))


def _has_image_encoder(config: ModelConfig) -> bool:
    """Return whether a model has an image encoder: by its configuration, or by its index."""
    if IMAGE_ENCODER in config.components:
        return True
    if not Path(config.model).is_dir() and not is_remote(config.model):
        return False
    if Path(config.model).is_dir() and index_file(Path(config.model)) is None:
        return False
    return bool(index_components(model_index(config.model, config.revision)).get(IMAGE_ENCODER, (None, None))[1])


def _merged(requests: Iterable[PullRequest]) -> Iterator[PullRequest]:
    """Yield requests with the folders of each repository together, so that they are one download."""
    found: dict[tuple[str, str | None, str | None], dict[str, None]] = {}
    for each in requests:
        found.setdefault((each.repo, each.revision, each.variant), {}).update(dict.fromkeys(each.folders))
    for (repo, revision, variant), folders in found.items():
        yield PullRequest(repo, revision, variant=variant, folders=tuple(folders))
