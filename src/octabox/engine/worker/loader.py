"""Bring a model from its files into memory."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, PipelineQuantizationConfig
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as DIFFUSERS_BACKENDS
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as TRANSFORMERS_BACKENDS

from octabox.catalog.loading import import_class
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.errors import IncompatibleWeightsError, LoadError

#: Endings of files that hold a whole model.
CHECKPOINTS = (".safetensors", ".ckpt", ".gguf")


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory."""

    pipeline: DiffusionPipeline
    device: str
    warnings: tuple[str, ...] = ()


def load(config: ModelConfig, pipeline: str, options: WorkerOptions) -> LoadedModel:
    """Load a model as its configuration says.

    Args:
        config: The model's configuration.
        pipeline: Diffusers class to load it as.
        options: Device and type of numbers where the configuration names none.

    Raises:
        LoadError: The configuration asks for what this machine or this class does not have.
    """
    device = choose_device(config.device or options.device, config.name)
    kind: Any = import_class(pipeline)
    dtypes = {name: part.dtype for name, part in config.components.items() if part.dtype and not part.model}
    dtype = choose_dtype(options.dtype if config.dtype == "auto" else config.dtype, device)
    arguments: dict[str, Any] = {
        "dtype": {"default": dtype, **{k: choose_dtype(v, device) for k, v in dtypes.items()}} if dtypes else dtype
    }
    arguments |= {
        name: _component(config, name, part, kind, dtype, device)
        for name, part in config.components.items()
        if part.model
    }
    if Path(config.model).suffix.lower() in CHECKPOINTS:
        pipe = _from_single_file(kind, config, arguments)
    else:
        arguments |= {
            "revision": config.revision,
            "variant": config.variant or _variant(config),
            "trust_remote_code": config.allow_remote_code,
        }
        arguments["quantization_config"] = quantization(config, kind)
        pipe = kind.from_pretrained(
            config.model, **{name: value for name, value in arguments.items() if value is not None}
        )
    pipe.set_progress_bar_config(disable=True)
    _apply_adapters(pipe, config)
    return LoadedModel(pipe, device, _place(pipe, config, device))


def choose_device(wanted: str | None, model: str) -> str:
    """Return the device to use; None asks for the best there is."""
    if wanted is None:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator.type if accelerator else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        hint = "Set `device: cpu`, or leave it out to take the best there is."
        reason = str(error).strip().partition("\n")[0]
        raise LoadError(
            f"Model '{model}' asks for device '{wanted}', which is not here: {reason}", hint=hint, model=model
        ) from error
    return wanted


def choose_dtype(wanted: str | None, device: str) -> torch.dtype:
    """Return the type of numbers: by name, or float32 on a processor and bfloat16 (else float16) on an accelerator."""
    if wanted not in (None, "auto"):
        dtype = getattr(torch, str(wanted))
        assert isinstance(dtype, torch.dtype)  # noqa: S101 (the configuration takes these names alone)
        return dtype
    if device == "cpu":
        return torch.float32
    halves = device.startswith("cuda") and not torch.cuda.is_bf16_supported()
    return torch.float16 if halves else torch.bfloat16


def _variant(config: ModelConfig) -> str | None:
    """Return ``fp16`` where half precision was asked for and the folder has such files; any files serve where it has not."""
    folder = Path(config.model)
    return "fp16" if config.dtype == "float16" and folder.is_dir() and any(folder.glob("*/*.fp16.*")) else None


def _component(
    config: ModelConfig,
    name: str,
    part: ComponentConfig,
    kind: type[DiffusionPipeline],
    dtype: torch.dtype,
    device: str,
) -> object:
    """Load a component from the source that the configuration gives it."""
    annotation = inspect.get_annotations(kind.__init__, eval_str=True).get(name)
    if annotation is None or not hasattr(annotation, "from_pretrained"):
        parts = sorted(set(inspect.signature(kind.__init__).parameters) - {"self"})
        hint = f"{kind.__name__} has these components: {', '.join(parts)}."
        raise LoadError(
            f"Model '{config.name}': '{name}' cannot be given a source of its own.", hint=hint, model=config.name
        )
    source, options = str(part.model), {"dtype": choose_dtype(part.dtype, device) if part.dtype else dtype}
    if Path(source).suffix.lower() in CHECKPOINTS:
        return annotation.from_single_file(source, **options)
    return annotation.from_pretrained(source, subfolder=part.subfolder or "", **options)


def _from_single_file(kind: type[DiffusionPipeline], config: ModelConfig, options: dict[str, Any]) -> DiffusionPipeline:
    if not hasattr(kind, "from_single_file"):
        hint = "Set `pipeline:` to the class that the file was made for, or convert it to a folder."
        raise IncompatibleWeightsError(
            f"{kind.__name__} cannot be loaded from a single file.", hint=hint, model=config.name
        )
    return kind.from_single_file(config.model, **options)


def _apply_adapters(pipe: DiffusionPipeline, config: ModelConfig) -> None:
    """Load the configuration's LoRAs, each with its own strength."""
    names = [f"adapter_{index}" for index in range(len(config.adapters))]
    for name, adapter in zip(names, config.adapters, strict=True):
        if not hasattr(pipe, "load_lora_weights"):
            raise LoadError(f"{type(pipe).__name__} takes no LoRA.", hint="Remove `adapters:`.", model=config.name)
        pipe.load_lora_weights(adapter.lora, adapter_name=name)
    if names:
        pipe.set_adapters(names, [adapter.weight for adapter in config.adapters])


def _place(pipe: DiffusionPipeline, config: ModelConfig, device: str) -> tuple[str, ...]:
    """Move the model to its device, whole or part by part as the memory mode says; return what could not be honoured."""
    if config.memory == "full":
        pipe.to(device)
    elif device == "cpu":
        return (
            f"`memory: {config.memory}` has no effect on a processor: there is no accelerator to move weights from.",
        )
    elif config.memory == "group_offload":
        pipe.enable_group_offload(onload_device=torch.device(device), offload_type="leaf_level")
    else:
        getattr(pipe, f"enable_{config.memory}")(device=device)
    return ()


def quantization(config: ModelConfig, kind: type[DiffusionPipeline]) -> PipelineQuantizationConfig | None:
    """Return how components are to be quantized when they are loaded; None where the configuration asks for nothing."""
    wanted = {name: dict(part.quantization) for name, part in config.components.items() if part.quantization}
    if not wanted:
        return None
    annotations = inspect.get_annotations(kind.__init__, eval_str=True)
    mapping = {}
    for name, arguments in wanted.items():
        library = getattr(annotations.get(name), "__module__", "").partition(".")[0]
        backends = TRANSFORMERS_BACKENDS if library == "transformers" else DIFFUSERS_BACKENDS
        backend = arguments.pop("quant_backend", None)
        if backend not in backends:
            raise LoadError(
                f"Model '{config.name}', component '{name}': there is no quantization backend '{backend}'.",
                hint="Set `quant_backend` to one of the choices.",
                model=config.name,
                choices=sorted(backends),
            )
        mapping[name] = backends[backend](**arguments)
    return PipelineQuantizationConfig(quant_mapping=mapping)
