"""Load a model from a single-file checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import FromSingleFileMixin

from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import component_class
from octabox.engine.worker.loading.checks.component_errors import named_component
from octabox.engine.worker.loading.checks.folders import check_component, check_config_folder, check_configurations
from octabox.engine.worker.loading.completeness import require_all_tensors
from octabox.engine.worker.loading.components import (
    component_dtype,
    component_dtypes,
    load_component,
    load_file,
    pipeline_quantization,
)
from octabox.engine.worker.loading.device_map import can_load_on_device, load_on_device
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.placement.dtype import DtypeChoice, choose_variant
from octabox.engine.worker.single_files.component_loading import components_loaded
from octabox.engine.worker.single_files.pickled_weights import replaced_classes
from octabox.engine.worker.single_files.scaled_weights import scales_applied
from octabox.engine.worker.single_files.stated_scheduler import stated_notes
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import Family, detect_family, holds_denoiser_only, match_family
from octabox.hub.checkpoints.predictions import SchedulerStatement
from octabox.hub.checkpoints.tensors import Shapes, read_shapes


def load_checkpoint(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, dtypes: DtypeChoice, device: str
) -> DiffusionPipeline:
    """Load a model from a single file, and the components that it lacks from the sources in the configuration.

    Args:
        config: The model's configuration.
        pipeline_class: Pipeline class.
        dtype: Dtype of the components that set none.
        dtypes: The dtypes to choose from; a class with its own file loader may not support all of them.
        device: Device that the model will be on; it is loaded there directly where that is possible.

    Raises:
        IncompatibleWeightsError: The file is damaged or not a model, lacks a component, or does not fit this class.
        RemoteCodeError: The file is a pickle that would run code.
    """
    file = Path(config.model)
    shapes = read_shapes(file)
    family = match_family(shapes)
    if _has_file_loader(pipeline_class) and not (family and family.not_a_model):
        return _load_by_class(config, pipeline_class, dtype, dtypes)
    if not config.config or (family and family.not_a_model):
        family = detect_family(file)
    if family and holds_denoiser_only(family, shapes, config.model, completed=bool(config.config)):
        part = family.part or next(iter(family.parts or ()))
        return _load_denoiser(config, pipeline_class, dtype, part, device)
    if not hasattr(pipeline_class, "from_single_file"):
        hint = "Set `pipeline:` to the class that the file was made for, or convert it to a folder."
        message = f"Model '{config.name}': {pipeline_class.__name__} cannot be loaded from a single file."
        raise IncompatibleWeightsError(message, hint=hint, model=config.name)
    return _load_all_components(config, pipeline_class, dtype, family, shapes, device)


def checkpoint_notes(config: ModelConfig, stated: SchedulerStatement) -> tuple[str, ...]:
    """Return what a single file states about its scheduler, and assumptions that neither it nor the configuration confirm."""
    if stated.states_prediction or config.config or config.scheduler_settings or config.scheduler:
        return stated_notes(stated)
    family = match_family(read_shapes(Path(config.model)))
    return (*stated_notes(stated), *((family.note,) if family and family.note else ()))


def dtype_notes(pipe: Any, dtype: torch.dtype) -> tuple[str, ...]:
    """Return a warning if a pipeline with its own file loader computes in another dtype than the requested one."""
    if not _has_file_loader(type(pipe)) or pipe.dtype == dtype:
        return ()
    actual, requested = (str(each).removeprefix("torch.") for each in (pipe.dtype, dtype))
    return (f"The model computes in {actual}: its architecture does not compute correctly in {requested}.",)


def _has_file_loader(pipeline_class: Any) -> bool:
    """Return whether a class that is not part of diffusers has its own `from_single_file`."""
    return hasattr(pipeline_class, "from_single_file") and not issubclass(pipeline_class, FromSingleFileMixin)


def _load_by_class(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, dtypes: DtypeChoice
) -> DiffusionPipeline:
    """Load a file by the class's own loader, and try further dtypes while the loaded model computes in another one."""
    unused = next((name for name in ("config", "components") if getattr(config, name)), None)
    if unused:
        raise IncompatibleWeightsError(
            f"Model '{config.name}': {pipeline_class.__name__} loads all components from {config.model} and does not use "
            f"`{unused}:`.",
            hint=f"Leave out `{unused}:`.",
            model=config.name,
        )
    pipe: DiffusionPipeline = pipeline_class.from_single_file(config.model, dtype=dtype)
    others = (each.dtype for each in dtypes.attempts if dtypes.automatic and each.dtype != dtype)
    while pipe.dtype != dtype and (dtype := next(others, pipe.dtype)) != pipe.dtype:
        pipe = pipeline_class.from_single_file(config.model, dtype=dtype)
    return pipe


def _load_denoiser(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, part: str, device: str
) -> DiffusionPipeline:
    """Load the denoiser from the file and the other components from the model that `config` names."""
    if not config.config:
        family = detect_family(Path(config.model))
        raise IncompatibleWeightsError(
            f"Model '{config.name}': {config.model} holds only the {part} of {family.title}.",
            hint=f"Set `config:` to a folder or Hub id with the complete model, such as {family.repository}.",
            model=config.name,
        )
    trusted = may_run_code(config, config.config)
    check_config_folder(config, pipeline_class, part, dtype)
    loaded = _load_configured_components(config, pipeline_class, dtype, config.config)
    own_device = device if can_load_on_device(config, device) else None
    loaded[part] = load_file(config, part, pipeline_class, dtype, config.model, config.config, own_device)
    if own_device:
        source = config.model_copy(update={"model": config.config})
        loaded = {**load_on_device(source, _own_dtypes(config, dtype), dtype, own_device, skipped=loaded), **loaded}
    other_components = {name: each for name, each in config.components.items() if name != part}
    options = {
        "revision": config.revision,
        "variant": choose_variant(config.variant, config.config, dtype),
        "disable_mmap": config.disable_mmap or None,
        "trust_remote_code": trusted,
        "quantization_config": pipeline_quantization(
            config.model_copy(update={"components": other_components}), pipeline_class, dtype
        ),
    }
    options = {name: value for name, value in options.items() if value is not None}
    pipe: DiffusionPipeline = pipeline_class.from_pretrained(
        config.config, dtype=component_dtypes(config, dtype), **loaded, **options
    )
    return pipe


def _load_all_components(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, family: Family | None, shapes: Shapes, device: str
) -> DiffusionPipeline:
    """Load all components that the file has, and the missing ones from the model that `config` names."""
    check_configurations(config, pipeline_class)
    dtypes, own_device = _own_dtypes(config, dtype), device if can_load_on_device(config, device) else None
    with _config_source(config, pipeline_class, family) as config_source:
        loaded = _load_configured_components(config, pipeline_class, dtype, config_source)
        required = family.missing(shapes) if family else ()
        if not config.config and family and family.configs:
            required += bundles.missing_components(family.configs)
        missing = [name for name in required if name not in loaded]
        if missing and not config.config:
            raise _missing_components_error(config, family, missing)
        for name in missing:
            loaded[name] = _load_missing(config, name, pipeline_class, dtypes.get(name, dtype), own_device)
        for name, part in config.parts():
            if part.quantization and not part.model:
                loaded[name] = load_file(config, name, pipeline_class, dtype, config.model, config_source)
        options: dict[str, Any] = {"config": config_source} if config_source else {}
        if config.disable_mmap:
            options["disable_mmap"] = True
        with (
            require_all_tensors(config.name, config.model),
            replaced_classes(config.model),
            scales_applied(config.model, max((dtype, *dtypes.values()), key=lambda each: each.itemsize)),
            components_loaded(dtypes, own_device),
        ):
            pipe: DiffusionPipeline = pipeline_class.from_single_file(
                config.model, dtype=dtype, local_files_only=not config.config, **loaded, **options
            )
    for name, part in config.parts():
        if part.dtype and not part.model and not part.omit:
            pipe.components[name].to(component_dtype(part, dtype))
    return pipe


def _own_dtypes(config: ModelConfig, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Return the dtypes of the components that set one and come with the model."""
    return {name: component_dtype(part, dtype) for name, part in config.parts() if part.dtype and not part.model}


def _load_missing(config: ModelConfig, name: str, pipeline_class: Any, dtype: torch.dtype, device: str | None) -> Any:
    """Load a component that a file lacks from the folder that completes it, on a device; None is the host."""
    folder, cls = Path(str(config.config)) / name, component_class(pipeline_class, name)
    variant = choose_variant(None, folder, dtype)
    check_component(config, name, folder, variant)
    options = {} if device is None else {"device_map": {"": torch.device(device)}}
    with named_component(config, name, f"{config.config}/{name}"):
        return cls.from_pretrained(config.config, subfolder=name, dtype=dtype, variant=variant, **options)


@contextmanager
def _config_source(config: ModelConfig, pipeline_class: Any, family: Family | None) -> Iterator[str]:
    """Yield the folder or Hub id with the configurations of the components."""
    if config.config:
        yield config.config
    elif family and family.configs:
        with bundles.bundle_folder(family.configs, pipeline_class.__name__) as folder:
            yield str(folder)
    else:
        title = family.title if family else "this file"
        source = f", such as {family.repository}" if family else ""
        raise IncompatibleWeightsError(
            f"Model '{config.name}': the configurations of the components of {title} are not known.",
            hint=f"Set `config:` to a folder or Hub id with the complete model{source}.",
            model=config.name,
        )


def _load_configured_components(
    config: ModelConfig, pipeline_class: Any, dtype: torch.dtype, config_source: str
) -> dict[str, Any]:
    """Load the components for which the configuration names a source."""
    names = {name for name, part in config.parts() if part.model}
    loaded = {name: load_component(config, name, pipeline_class, dtype, config_source) for name in names}
    return {**loaded, **config.omitted()}


def _missing_components_error(config: ModelConfig, family: Family | None, names: list[str]) -> IncompatibleWeightsError:
    """Return the error that lists the components that the file lacks, and a source for them."""
    assert family is not None  # noqa: S101 (without a family no component is known to be missing)
    names = sorted(names)
    example = f"`{names[0]}: {{model: {family.repository}, subfolder: {names[0]}}}`"
    return IncompatibleWeightsError(
        f"Model '{config.name}': the file is a {family.title} checkpoint without {', '.join(names)}.",
        hint=f"Set `config:` to a folder or Hub id with the complete model, such as {family.repository}, "
        f"or set each under `components:`, such as {example}.",
        model=config.name,
    )
