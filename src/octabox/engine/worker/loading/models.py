"""Load a model and apply its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, ModularPipeline

from octabox.catalog.loading import check_packages, import_class, import_component_classes
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.sources.local import use_local_sources
from octabox.engine.worker.conditions.ip_adapter import IPAdapters, load_ip_adapters
from octabox.engine.worker.conditions.lora import Loras, configured_adapters
from octabox.engine.worker.conditions.textual_inversion import LoadedEmbeddings, load_embeddings
from octabox.engine.worker.loading.checkpoints import checkpoint_notes, dtype_notes, load_checkpoint
from octabox.engine.worker.loading.checks.component_errors import named_components
from octabox.engine.worker.loading.checks.folders import check_limits, check_model_folder
from octabox.engine.worker.loading.completeness import check_widths, require_all_weights
from octabox.engine.worker.loading.components import (
    check_packed_weights,
    component_dtypes,
    load_component,
    pipeline_quantization,
)
from octabox.engine.worker.loading.control_compatibility import check_control_components
from octabox.engine.worker.loading.device_map import can_load_on_device, load_on_device
from octabox.engine.worker.loading.extra_components import load_extra_components, split_extra_components
from octabox.engine.worker.loading.modular import load_modular
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.memory_modes.loading import mode_after_failure, resolve_memory
from octabox.engine.worker.performance.optimizations import AppliedPerformance, apply_layout, apply_performance
from octabox.engine.worker.performance.parallelism import choose_splitting
from octabox.engine.worker.performance.plan import PerformancePlan, plan_performance
from octabox.engine.worker.placement.casts import has_mixed_dtypes, install_casts
from octabox.engine.worker.placement.device import choose_device
from octabox.engine.worker.placement.dtype import DtypeChoice, Precision, choose_dtypes, choose_variant
from octabox.engine.worker.placement.layerwise_casting import apply_storage
from octabox.engine.worker.placement.offload import Placement, prepare_placement
from octabox.engine.worker.placement.process_memory import release_memory
from octabox.engine.worker.placement.recovery import clear_frames
from octabox.engine.worker.single_files.stated_scheduler import apply_configured_settings, apply_stated_scheduler
from octabox.errors import LoadError, NotFoundError, RequestError
from octabox.hub.folder import CHECKPOINT_SUFFIXES, folder_index, index_components, index_file

logger = logging.getLogger("octabox.worker")


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Args:
        pipeline: The pipeline that the model was loaded as.
        device: Device that it runs on.
        warnings: Settings that have no effect, and assumptions.
        extra_components: Components for sibling pipelines.
        loras: Applies LoRAs; None if the model was not loaded from a configuration.
        embeddings: The words of its textual inversion embeddings.
        ip_adapters: Its IP-Adapters; None if it has none.
        placement: Places and offloads its components.
        dtypes: Dtypes to try, the current one first. None if the model was not loaded from a configuration.
        performance: The performance settings in effect.
        failed_modes: Memory modes in which memory has run out during the load.
    """

    pipeline: DiffusionPipeline
    device: str
    warnings: tuple[str, ...] = ()
    extra_components: Mapping[str, Any] = field(default_factory=dict)
    loras: Loras | None = None
    embeddings: LoadedEmbeddings = field(default_factory=LoadedEmbeddings)
    ip_adapters: IPAdapters | None = None
    placement: Placement = field(default_factory=Placement)
    dtypes: DtypeChoice | None = None
    performance: AppliedPerformance = field(default_factory=AppliedPerformance)
    failed_modes: tuple[str, ...] = ()


def load(
    config: ModelConfig,
    pipeline: str,
    options: WorkerOptions,
    precision: Precision | None = None,
    occupied: int = 0,
    *,
    makes_room: bool = False,
) -> LoadedModel:
    """Load a model from its configuration; where memory runs out in the mode ``auto``, again in the next mode.

    Args:
        config: The model's configuration.
        pipeline: Name of the diffusers class to load it as.
        options: Defaults for device and dtype.
        precision: Dtype to load in; None takes the first one that `choose_dtypes` returns.
        occupied: Bytes that other models hold on the device.
        makes_room: Whether the caller frees a part of the device where memory runs out, and loads the model again, so that
            it need not be in a slower mode.

    Raises:
        LoadError: A setting is not possible on this machine or with this class.
    """
    split_extra_components(config, pipeline)  # It fails before anything is downloaded.
    config = use_local_sources(config, may_run_code)
    check_limits(config)
    device = choose_device(config.device or options.device, config.name)
    selected, reason = resolve_memory(config, pipeline, device, options, occupied)
    failed_modes: list[str] = []
    while True:
        try:
            loaded = _load_in_mode(selected, pipeline, options, precision, device, reason)
            return replace(loaded, failed_modes=tuple(failed_modes))
        except Exception as error:
            following = None if makes_room else mode_after_failure(config, selected.memory, device, options, error)
            if following is None:
                raise
            clear_frames(error)
        # Only here, after the exception is deleted, nothing references the weights of the failed load.
        release_memory(device)
        failed_modes.append(selected.memory)
        reason = f"Memory ran out while the model was loaded in the mode {selected.memory}."
        logger.warning("%s: %s It is loaded again with `memory: %s`", config.name, reason, following)
        selected = config.model_copy(update={"memory": following})


def _load_in_mode(
    config: ModelConfig,
    pipeline: str,
    options: WorkerOptions,
    precision: Precision | None,
    device: str,
    memory_reason: str,
) -> LoadedModel:
    """Load a model on a device in the memory mode of its configuration."""
    plan = plan_performance(config, options, device)
    class_names = _component_class_names(config)
    pipeline_class = _import_classes(pipeline, class_names)
    dtypes = choose_dtypes(config, options.dtype, device, pipeline_class, class_names)
    precision = precision or dtypes.attempts[0]
    dtype = precision.dtype
    # For errors, which state the memory that the device has.
    config = config.model_copy(update={"device": device})
    check_packed_weights(config, device)
    check_model_folder(config, load_catalog().pipeline(pipeline), pipeline_class, dtype)
    base_config, extra_names = split_extra_components(config, pipeline)
    with require_all_weights(config.name) as unused, named_components(config):
        pipe, notes = _load_pipeline(base_config, pipeline_class, precision, dtypes, device)
        extras = load_extra_components(config, pipeline, extra_names, dtype)
    apply_configured_settings(pipe, config)
    pipe.set_progress_bar_config(disable=True)
    check_widths(config.name, pipe.components)
    embeddings = load_embeddings(pipe, options.embeddings)
    placement = prepare_placement(config, pipeline, device, memory_reason)
    with require_all_weights(config.name):
        ip_adapters = load_ip_adapters(pipe, config, dtype, placement)
    loras = _load_loras(pipe, config, options.max_adapters, placement)
    check_control_components(config, pipe.components, extras)
    components = {**pipe.components, **extras}
    if precision.casts or has_mixed_dtypes(components.values()):
        install_casts(components.values())
    apply_storage(config, components)
    splitting = choose_splitting(config, components)
    if splitting and splitting.shards_weights:
        plan.applied["parallel"] = splitting.apply(device)
    performance = _apply_plan(pipe, components, plan, placement, ip_adapters, adapted=bool(config.adapters))
    if splitting and not splitting.shards_weights:
        plan.applied["parallel"] = splitting.apply(device)
    notes += (*unused, *placement.notes, *performance.warnings)
    # Of a model that is split, another dtype would be tried by each process alone.
    choice = None if splitting else dtypes
    return LoadedModel(pipe, device, notes, extras, loras, embeddings, ip_adapters, placement, choice, performance)


def _apply_plan(
    pipe: Any,
    components: dict[str, Any],
    plan: PerformancePlan,
    placement: Placement,
    ip_adapters: IPAdapters | None,
    *,
    adapted: bool,
) -> AppliedPerformance:
    """Place the components of a model, apply its performance settings, and return those that apply."""
    fused = apply_layout(components, plan, adapted=adapted or bool(ip_adapters))
    placement.install(components, ip_adapters.attached if ip_adapters else nullcontext)
    performance = apply_performance(pipe, components, plan, fused)
    if ip_adapters:
        ip_adapters.note_processors()
    return performance


def _import_classes(pipeline: str, class_names: list[str] | None) -> Any:
    """Import the classes of a model, and return that of the pipeline."""
    check_packages(pipeline, class_names)
    pipeline_class = import_class(pipeline)
    import_component_classes(class_names or ())
    return pipeline_class


def _load_pipeline(
    config: ModelConfig, pipeline_class: Any, precision: Precision, dtypes: DtypeChoice, device: str
) -> tuple[Any, tuple[str, ...]]:
    """Load a pipeline from a file, a folder or the Hub, and return it with the assumptions made."""
    if Path(config.model).suffix.lower() in CHECKPOINT_SUFFIXES:
        pipe = load_checkpoint(config, pipeline_class, precision.dtype, dtypes, device)
        stated = apply_stated_scheduler(pipe, config)
        return pipe, (*checkpoint_notes(config, stated), *dtype_notes(pipe, precision.dtype))
    if issubclass(pipeline_class, ModularPipeline):
        return load_modular(config, pipeline_class, precision.dtype, device), ()
    return _load_folder(pipeline_class, config, precision.dtype, device), ()


def _component_class_names(config: ModelConfig) -> list[str] | None:
    """Return the class names in a model's index; None if there is no local index."""
    folder = Path(config.model)
    if index_file(folder) is None:
        return None
    components = index_components(folder_index(folder))
    return [cls for name, (_, cls) in components.items() if cls and name not in config.components]


def _load_folder(pipeline_class: Any, config: ModelConfig, dtype: torch.dtype, device: str) -> DiffusionPipeline:
    """Load a model in diffusers' format from a folder or from the Hub."""
    trusted = may_run_code(config, config.model)
    configured_adapters = {name for name, part in config.parts() if part.model}
    dtypes = component_dtypes(config, dtype)
    options: dict[str, Any] = {
        name: load_component(config, name, pipeline_class, dtype, config.model) for name in configured_adapters
    }
    if can_load_on_device(config, device):
        options |= load_on_device(config, dtypes if isinstance(dtypes, dict) else {}, dtype, device)
    options |= {
        "dtype": dtypes,
        "revision": config.revision,
        "variant": choose_variant(config.variant, config.model, dtype),
        "disable_mmap": config.disable_mmap or None,
        "trust_remote_code": trusted,
        "quantization_config": pipeline_quantization(config, pipeline_class, dtype),
    }
    pipe: DiffusionPipeline = pipeline_class.from_pretrained(
        config.model, **{name: value for name, value in options.items() if value is not None}, **config.omitted()
    )
    return pipe


def _load_loras(pipe: DiffusionPipeline, config: ModelConfig, max_loaded: int, placement: Placement) -> Loras:
    """Load the LoRAs of the configuration and apply each with its weight."""
    loras = Loras(pipe, max_loaded, placement)
    try:
        # Unmerged, since the model is not on its device yet.
        loras.apply(configured_adapters(config), unmerged=True)
    except (NotFoundError, RequestError) as error:
        message = f"Model '{config.name}': {error.message}"
        raise LoadError(message, hint=error.hint, model=config.name, choices=error.choices) from error
    return loras
