"""The process that converts a model to a folder in diffusers' format."""

from __future__ import annotations

import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from octabox.config.performance import PerformanceConfig
from octabox.engine.conversions import Conversion, Converted
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.device import find_bad_fork
from octabox.engine.worker.third_party_logs import configure_third_party_logs
from octabox.errors import LoadError, OctaboxError
from octabox.telemetry.logs import configure


def serve(connection: Connection) -> None:
    """Run the conversion that the first message requests, and send its result or error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request, folder = connection.recv()
    configure(request.options.log_level, request.options.log_file)
    configure_third_party_logs()
    if bad_fork := find_bad_fork():
        connection.send(bad_fork)
        return
    try:
        response: Converted | OctaboxError = _convert(request, folder)
    except Exception as error:  # noqa: BLE001 (any error of the load is sent to the other process)
        response = to_load_error(error, request.model)
    connection.send(response)


def _convert(request: Conversion, folder: Path) -> Converted:
    """Load the model on the CPU and save it."""
    # Memory settings have no effect on the saved files.
    config = request.model.without_storage().model_copy(
        update={
            "device": "cpu",
            "parallel": None,
            "memory": "full",
            "ip_adapters": (),
            "performance": PerformanceConfig(profile="exact"),
        }
    )
    loaded = load(config, request.pipeline, replace(request.options, device="cpu"))
    _check_writable(loaded.pipeline, config.name)
    _fuse_weights(loaded.pipeline, len(config.adapters))
    options = {"max_shard_size": request.max_shard_size} if request.max_shard_size else {}
    try:
        loaded.pipeline.save_pretrained(folder, variant=request.variant, **options)
    except (OSError, SafetensorError) as error:
        raise LoadError(
            f"Model '{config.name}' could not be written to {request.out}: {error}",
            hint="Check the free disk space. No partial files are left.",
            model=config.name,
        ) from error
    omitted = [name for name in ("scheduler", "defaults", "ip_adapters") if getattr(request.model, name)]
    omitted += [f"components.{name}" for name in loaded.extra_components]
    notes = [f"`{name}` of the configuration is not written: a folder holds only the model." for name in omitted]
    return Converted((*loaded.warnings, *notes))


def _check_writable(pipe: DiffusionPipeline, model: str) -> None:
    """Check that all components with weights can be saved in diffusers' format.

    Raises:
        LoadError: A component's class has no `save_pretrained`.
    """
    names = [name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)]
    unsupported = [name for name in names if not hasattr(pipe.components[name], "save_pretrained")]
    if unsupported:
        raise LoadError(
            f"Model '{model}' cannot be written as a folder: diffusers has no format for its {', '.join(unsupported)}.",
            hint="Use the file as it is.",
            model=model,
        )


def _fuse_weights(pipe: DiffusionPipeline, adapters: int) -> None:
    """Fuse the LoRAs into the weights, and dequantize the weights that cannot be saved quantized."""
    if adapters:
        pipe.fuse_lora()
        pipe.unload_lora_weights()
    for part in pipe.components.values():
        quantizer = getattr(part, "hf_quantizer", None)
        if quantizer is not None and not quantizer.is_serializable:
            part.dequantize()
