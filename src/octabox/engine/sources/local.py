"""Find on this machine what a model needs of the Hub, download what is missing, and keep it while it is in use.

A server downloads before it starts a worker. What is still missing then, such as on another machine of a cluster, is downloaded
here in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.sources.requests import (
    config_request,
    has_remote_config,
    ip_adapter_request,
    is_remote,
    lora_request,
    model_request,
    part_request,
    plan_request,
)
from octabox.hub.files_in_use import hold
from octabox.hub.pulls.copies import find_copy
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.pull import pull


def local_folder(request: PullRequest) -> Path:
    """Return the folder in the cache that has what a request needs, which is kept while this process runs.

    Raises:
        OctaboxError: It is not complete, and cannot be downloaded.
    """
    folder = find_copy(request)
    if folder is None:
        plan = plan_request(request)
        # In a thread, since a loop may run in this one.
        with ThreadPoolExecutor(1) as pool:
            folder = find_copy(request) if plan is None else pool.submit(lambda: asyncio.run(pull(plan))).result()
    assert folder is not None  # noqa: S101 (it is complete now)
    hold(folder)
    return folder


def local_lora(source: str) -> str:
    """Return the file or folder of a LoRA, which is kept while this process runs."""
    if is_remote(source):
        return str(local_folder(lora_request(source)))
    hold(Path(source))
    return source


def use_local_sources(config: ModelConfig, keeps_id: Callable[[ModelConfig, str], bool]) -> ModelConfig:
    """Return a configuration with folders for the Hub ids of its model, components and IP-Adapters.

    LoRAs keep their names, since results state them.

    Args:
        config: The configuration.
        keeps_id: Returns whether a repository has to be loaded by its id, since its code is allowed by it.

    Raises:
        OctaboxError: Something is not complete in the cache, and cannot be downloaded.
    """
    update: dict[str, object] = {
        "components": {
            name: tuple(map(_local_part, parts)) if isinstance(parts, tuple) else _local_part(parts)
            for name, parts in config.components.items()
        },
        "ip_adapters": tuple(
            part.model_copy(update={"model": str(local_folder(ip_adapter_request(part, config)))})
            if is_remote(part.model)
            else part
            for part in config.ip_adapters
        ),
    }
    if is_remote(config.model):
        folder = local_folder(model_request(config))
        if not keeps_id(config, config.model):
            update |= {"model": str(folder), "revision": None}
    elif has_remote_config(config):
        folder = local_folder(config_request(config))
        if not keeps_id(config, str(config.config)):
            update |= {"config": str(folder), "revision": None}
    for source in (config.model, config.config, *(part.model for _, part in config.parts())):
        if source and not is_remote(source):
            hold(Path(source))
    return config.model_copy(update=update)


def _local_part(part: ComponentConfig) -> ComponentConfig:
    """Return the settings of a component with a folder for a Hub id."""
    if not is_remote(part.model):
        return part
    return part.model_copy(update={"model": str(local_folder(part_request(part)))})
