"""The process that loads a model and writes it out as a folder."""

from __future__ import annotations

import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from octabox.config.performance import PerformanceConfig
from octabox.engine.messages import Conversion, Converted
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.library_logging import configure_library_logging
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.device import find_bad_fork
from octabox.errors import LoadError, OctaboxError
from octabox.telemetry.logs import configure


def serve(connection: Connection) -> None:
    """Do what the first message orders, and answer with its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order, place = connection.recv()
    configure(order.options.log_level, order.options.log_file)
    configure_library_logging()
    if bad_fork := find_bad_fork():
        connection.send(bad_fork)
        return
    try:
        answer: Converted | OctaboxError = _convert(order, place)
    except Exception as error:  # noqa: BLE001 (whatever a load may raise, the other side must hear of it)
        answer = to_load_error(error, order.model)
    connection.send(answer)


def _convert(order: Conversion, place: Path) -> Converted:
    """Load the model onto the processor and write it."""
    # How a model is held in memory says nothing of its files.
    config = order.model.without_storage().model_copy(
        update={"device": "cpu", "memory": "full", "ip_adapters": (), "performance": PerformanceConfig(profile="exact")}
    )
    loaded = load(config, order.pipeline, replace(order.options, device="cpu"))
    _check_writable(loaded.pipeline, config.name)
    _make_plain(loaded.pipeline, len(config.adapters))
    options = {"max_shard_size": order.max_shard_size} if order.max_shard_size else {}
    try:
        loaded.pipeline.save_pretrained(place, variant=order.variant, **options)
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"Model '{config.name}' could not be written to {order.out}: {error}",
            hint="Is there room on the disk? Nothing is left of what was written.",
            model=config.name,
        ) from error
    left = [name for name in ("scheduler", "defaults", "ip_adapters") if getattr(order.model, name)]
    left += [f"components.{name}" for name in loaded.beside]
    notes = [f"`{name}` of the configuration is not written: a folder holds the model as it came." for name in left]
    return Converted((*loaded.warnings, *notes))


def _check_writable(pipe: DiffusionPipeline, model: str) -> None:
    """Make sure that all weights can be written in diffusers' format.

    Raises:
        LoadError: A component's class knows of no such format.
    """
    parts = [name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)]
    unfit = [name for name in parts if not hasattr(pipe.components[name], "save_pretrained")]
    if unfit:
        raise LoadError(
            f"Model '{model}' cannot be written as a folder: diffusers has no format for its {', '.join(unfit)}.",
            hint="Use the file as it is.",
            model=model,
        )


def _make_plain(pipe: DiffusionPipeline, adapters: int) -> None:
    """Let the weights be what they are used as: LoRAs added to them, packed numbers unpacked where they cannot be saved."""
    if adapters:
        pipe.fuse_lora()
        pipe.unload_lora_weights()
    for part in pipe.components.values():
        quantizer = getattr(part, "hf_quantizer", None)
        if quantizer is not None and not quantizer.is_serializable:
            part.dequantize()
