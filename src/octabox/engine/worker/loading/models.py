"""Bring a model from its files into memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ModularPipeline

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import check_packages, import_class, import_component_classes
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.conditions.ip_adapter import IPAdapters, load_ip_adapters
from octabox.engine.worker.conditions.lora import Loras, configured
from octabox.engine.worker.conditions.textual_inversion import load_embeddings
from octabox.engine.worker.loading.checkpoints import checkpoint_notes, dtype_notes, load_checkpoint
from octabox.engine.worker.loading.class_checks import check_control_inputs
from octabox.engine.worker.loading.components import (
    check_packed_weights,
    component_dtypes,
    load_component,
    pipeline_quantization,
)
from octabox.engine.worker.loading.direct import load_direct, loads_direct
from octabox.engine.worker.loading.extra_components import load_extra_components, part_configuration
from octabox.engine.worker.loading.modular import load_modular
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.performance.applying import AppliedPerformance, apply_layout, apply_performance
from octabox.engine.worker.performance.planning import plan_performance
from octabox.engine.worker.placement.casting import differing_dtypes, install_casts
from octabox.engine.worker.placement.device import choose_device
from octabox.engine.worker.placement.dtype import DtypeChoice, Precision, choose_dtypes, choose_variant
from octabox.engine.worker.placement.layerwise import apply_storage
from octabox.engine.worker.placement.offload import Placement, prepare_placement
from octabox.errors import LoadError, NotFoundError, RequestError
from octabox.hub.folder import CHECKPOINT_SUFFIXES, folder_index, index_file, is_hub_id


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Args:
        pipeline: The model's own pipeline.
        device: Where it runs.
        warnings: What could not be honoured.
        beside: Components that its configuration brings for siblings of the pipeline.
        loras: What applies LoRAs to it; None where the model was not loaded from a configuration.
        words: Embeddings that its prompts may hold, by name.
        image_prompts: What lets it take images as prompts; None where it has no IP-Adapter.
        placement: Where its components are.
        dtypes: What it may compute in; the first of them is in use. None where it was not loaded from a configuration.
        performance: Its performance settings, in effect.
    """

    pipeline: DiffusionPipeline
    device: str
    warnings: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    loras: Loras | None = None
    words: tuple[str, ...] = ()
    image_prompts: IPAdapters | None = None
    placement: Placement = field(default_factory=Placement)
    dtypes: DtypeChoice | None = None
    performance: AppliedPerformance = field(default_factory=AppliedPerformance)


def load(config: ModelConfig, pipeline: str, options: WorkerOptions, precision: Precision | None = None) -> LoadedModel:
    """Load a model as its configuration says.

    Args:
        config: The model's configuration.
        pipeline: Diffusers class to load it as.
        options: Device and dtype where the configuration names none.
        precision: What it is to compute in; None is the first of what the configuration leads to.

    Raises:
        LoadError: The configuration asks for what this machine or this class does not have.
    """
    device = choose_device(config.device or options.device, config.name)
    plan = plan_performance(config, options, device)
    parts = _part_classes(config)
    check_packages(pipeline, parts)
    kind: Any = import_class(pipeline)
    import_component_classes(parts or ())
    dtypes = choose_dtypes(config, options.dtype, device, kind, parts)
    precision = precision or dtypes.attempts[0]
    dtype = precision.dtype
    check_packed_weights(config, device)
    _check_complete(config, load_catalog().pipeline(pipeline))
    whole, beside = part_configuration(config, pipeline)
    notes: tuple[str, ...] = ()
    if Path(config.model).suffix.lower() in CHECKPOINT_SUFFIXES:
        pipe = load_checkpoint(whole, kind, dtype, dtypes)
        notes = (*checkpoint_notes(whole), *dtype_notes(pipe, dtype))
    elif issubclass(kind, ModularPipeline):
        pipe = load_modular(whole, kind, dtype, device)
    else:
        pipe = _from_folder(kind, whole, dtype, device)
    pipe.set_progress_bar_config(disable=True)
    words = load_embeddings(pipe, options.embeddings)
    placement = prepare_placement(config, pipeline, device)
    image_prompts = load_ip_adapters(pipe, config, dtype, placement)
    loras, _ = _apply_adapters(pipe, config, options.max_adapters, placement)
    extras = load_extra_components(config, pipeline, beside, dtype)
    check_control_inputs(config, pipe.components, extras)
    components = {**pipe.components, **extras}
    if precision.casts or differing_dtypes(components.values()):
        install_casts(components.values())
    apply_storage(config, components)
    fused = apply_layout(components, plan, adapted=bool(image_prompts or config.adapters))
    placement.install(components, image_prompts.put_in if image_prompts else nullcontext)
    performance = apply_performance(pipe, components, plan, fused)
    notes += (*placement.notes, *performance.warnings)
    return LoadedModel(pipe, device, notes, extras, loras, words, image_prompts, placement, dtypes, performance)


def _part_classes(config: ModelConfig) -> list[str] | None:
    """Return the names of the classes that a model's index names; None where it has no index here."""
    folder = Path(config.model)
    if index_file(folder) is None:
        return None
    # Behind the library stands the class; an index of a modular pipeline tells more behind that.
    named = {name: part[1] for name, part in folder_index(folder).items() if isinstance(part, list)}
    return [str(part) for name, part in named.items() if part and name not in config.components]


def _check_complete(config: ModelConfig, entry: PipelineEntry) -> None:
    """Make sure that a folder has all components that its index names, and all that the class needs.

    Raises:
        LoadError: Some are missing.
    """
    folder = Path(config.model)
    if not folder.exists() and not is_hub_id(config.model):
        hint = "Check `model`: a folder, a file or a Hub id."
        raise LoadError(f"Model '{config.name}': there is nothing at {folder}.", hint=hint, model=config.name)
    if entry.modular or index_file(folder) is None:
        return
    index = {name: part for name, part in folder_index(folder).items() if isinstance(part, list)}
    named = [name for name, part in index.items() if part[-1] and name in entry.required_components]
    given = {name for name, part in config.parts() if part.model}
    missing = [name for name in named if name not in given and not (folder / name).is_dir()]
    if missing:
        raise LoadError(
            f"Model '{config.name}': {folder} has no folder {', '.join(missing)}, which its model_index.json names.",
            hint="Fetch the model again, or give the component a source under `components`.",
            model=config.name,
        )
    needed = sorted(entry.required_components - {*index, *given})
    if needed:
        raise LoadError(
            f"Model '{config.name}': {entry.name} needs {', '.join(needed)}, which {folder} has not.",
            hint=f"Write into its configuration: components: {{{needed[0]}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )


def _from_folder(kind: Any, config: ModelConfig, dtype: torch.dtype, device: str) -> DiffusionPipeline:
    """Load a model in diffusers' own format, from a folder or from the Hub."""
    trusted = may_run_code(config, config.model)
    own = {name for name, part in config.parts() if part.model}
    dtypes = component_dtypes(config, dtype)
    options: dict[str, Any] = {name: load_component(config, name, kind, dtype, config.model) for name in own}
    if loads_direct(config, device):
        options |= load_direct(config, dtypes if isinstance(dtypes, dict) else {}, dtype, device)
    options |= {
        "dtype": dtypes,
        "revision": config.revision,
        "variant": choose_variant(config.variant, config.model, dtype),
        "disable_mmap": config.disable_mmap or None,
        "trust_remote_code": trusted,
        "quantization_config": pipeline_quantization(config, kind, dtype),
    }
    pipe: DiffusionPipeline = kind.from_pretrained(
        config.model, **{name: value for name, value in options.items() if value is not None}
    )
    return pipe


def _apply_adapters(
    pipe: DiffusionPipeline, config: ModelConfig, most: int, placement: Placement
) -> tuple[Loras, tuple[str, ...]]:
    """Load the configuration's LoRAs, each with its own strength, and return what holds them."""
    loras = Loras(pipe, most, placement)
    try:
        # Beside their layers, since the model has yet to be moved to its device.
        _, notes = loras.apply(configured(config), beside=True)
    except (NotFoundError, RequestError) as error:
        message = f"Model '{config.name}': {error.message}"
        raise LoadError(message, hint=error.hint, model=config.name, choices=error.choices) from error
    return loras, tuple(notes)
