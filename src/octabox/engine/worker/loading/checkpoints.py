"""Bring a model from a single file into memory."""

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
from octabox.engine.worker.loading.components import (
    component_dtype,
    component_dtypes,
    load_component,
    load_file,
    pipeline_quantization,
)
from octabox.engine.worker.loading.remote_code import may_run_code
from octabox.engine.worker.placement.dtype import DtypeChoice, choose_variant
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import Family, detect_family, match_family
from octabox.hub.checkpoints.tensors import Shapes, read_shapes


def load_checkpoint(config: ModelConfig, kind: Any, dtype: torch.dtype, dtypes: DtypeChoice) -> DiffusionPipeline:
    """Load a model from a single file, with the components that it lacks from where the configuration says.

    Args:
        config: The model's configuration.
        kind: Pipeline class.
        dtype: Type of numbers, where a component has none of its own.
        dtypes: What it may compute in: a class that loads files in a way of its own may not do so in all of them.

    Raises:
        IncompatibleWeightsError: The file is damaged or no model, lacks a component, or is not for this class.
        RemoteCodeError: It is a pickle that would run code.
    """
    file = Path(config.model)
    shapes = read_shapes(file)
    family = match_family(shapes)
    if _knows_files(kind) and not (family and family.not_a_model):
        return _of_its_own(config, kind, dtype, dtypes)
    if not config.config or (family and family.not_a_model):
        family = detect_family(file)
    if family and _is_alone(family, shapes, config):
        return _around(config, kind, dtype, family.part or next(iter(family.parts or ())))
    if not hasattr(kind, "from_single_file"):
        hint = "Set `pipeline:` to the class that the file was made for, or convert it to a folder."
        message = f"Model '{config.name}': {kind.__name__} cannot be loaded from a single file."
        raise IncompatibleWeightsError(message, hint=hint, model=config.name)
    return _whole(config, kind, dtype, family, shapes)


def checkpoint_notes(config: ModelConfig) -> tuple[str, ...]:
    """Return what was taken for granted of a single file, since neither its tensors nor the configuration tell."""
    family = None if config.config or config.scheduler else match_family(read_shapes(Path(config.model)))
    return (family.note,) if family and family.note else ()


def dtype_notes(pipe: Any, dtype: torch.dtype) -> tuple[str, ...]:
    """Return whether a pipeline that loads files in a way of its own computes in another dtype than it should."""
    if not _knows_files(type(pipe)) or pipe.dtype == dtype:
        return ()
    own, asked = (str(each).removeprefix("torch.") for each in (pipe.dtype, dtype))
    return (f"The model computes in {own}: its kind of network does not do so rightly in {asked}.",)


def _knows_files(kind: Any) -> bool:
    """Tell whether a class, which is none of diffusers, loads files in a way of its own, and needs nothing beside them."""
    return hasattr(kind, "from_single_file") and not issubclass(kind, FromSingleFileMixin)


def _of_its_own(config: ModelConfig, kind: Any, dtype: torch.dtype, dtypes: DtypeChoice) -> DiffusionPipeline:
    """Load a file by a class that knows how; in the next dtype where its kind of network computes in another than it should."""
    given = next((name for name in ("config", "components") if getattr(config, name)), None)
    if given:
        raise IncompatibleWeightsError(
            f"Model '{config.name}': {kind.__name__} takes all it needs from {config.model}, and nothing from `{given}:`.",
            hint=f"Leave out `{given}:`.",
            model=config.name,
        )
    pipe: DiffusionPipeline = kind.from_single_file(config.model, dtype=dtype)
    others = (each.dtype for each in dtypes.attempts if dtypes.automatic and each.dtype != dtype)
    while pipe.dtype != dtype and (dtype := next(others, pipe.dtype)) != pipe.dtype:
        pipe = kind.from_single_file(config.model, dtype=dtype)
    return pipe


def _is_alone(family: Family, shapes: Shapes, config: ModelConfig) -> bool:
    """Tell whether a file holds the denoiser alone, and the rest is to come from a whole model."""
    if family.part or config.model.lower().endswith(".gguf"):
        return True
    return bool(config.config) and len(family.missing(shapes)) == len(family.parts or ()) - 1


def _around(config: ModelConfig, kind: Any, dtype: torch.dtype, part: str) -> DiffusionPipeline:
    """Load a denoiser from the file, and the model around it from the one that `config` names."""
    if not config.config:
        family = detect_family(Path(config.model))
        raise IncompatibleWeightsError(
            f"Model '{config.name}': {config.model} holds the {part} of {family.title} alone.",
            hint=f"Set `config:` to a folder or Hub id with the whole model, such as {family.repository}.",
            model=config.name,
        )
    trusted = may_run_code(config, config.config)
    given = _given(config, kind, dtype, config.config)
    given[part] = load_file(config, part, kind, dtype, config.model, config.config)
    quantized = {name: each for name, each in config.components.items() if name != part}
    options = {
        "revision": config.revision,
        "variant": choose_variant(config.variant, config.config, dtype),
        "disable_mmap": config.disable_mmap or None,
        "trust_remote_code": trusted,
        "quantization_config": pipeline_quantization(config.model_copy(update={"components": quantized}), kind, dtype),
    }
    options = {name: value for name, value in options.items() if value is not None}
    pipe: DiffusionPipeline = kind.from_pretrained(
        config.config, dtype=component_dtypes(config, dtype), **given, **options
    )
    return pipe


def _whole(
    config: ModelConfig, kind: Any, dtype: torch.dtype, family: Family | None, shapes: Shapes
) -> DiffusionPipeline:
    """Load all components that the file has."""
    with _built(config, kind, family) as built:
        given = _given(config, kind, dtype, built)
        wanted = family.missing(shapes) if family else ()
        if not config.config and family and family.configs:
            wanted += bundles.missing_components(family.configs)
        lacking = [name for name in wanted if name not in given]
        if lacking and not config.config:
            raise _lacks(config, family, lacking)
        for name in lacking:
            variant = choose_variant(None, Path(str(config.config)) / name, dtype)
            own = component_class(kind, name)
            given[name] = own.from_pretrained(config.config, subfolder=name, dtype=dtype, variant=variant)
        for name, part in config.parts():
            if part.quantization and not part.model:
                given[name] = load_file(config, name, kind, dtype, config.model, built)
        options: dict[str, Any] = {"config": built} if built else {}
        if config.disable_mmap:
            options["disable_mmap"] = True
        pipe: DiffusionPipeline = kind.from_single_file(
            config.model, dtype=dtype, local_files_only=not config.config, **given, **options
        )
    for name, part in config.parts():
        if part.dtype and not part.model:
            pipe.components[name].to(component_dtype(part, dtype))
    return pipe


@contextmanager
def _built(config: ModelConfig, kind: Any, family: Family | None) -> Iterator[str]:
    """Yield the folder or Hub id that says how the components are built."""
    if config.config:
        yield config.config
    elif family and family.configs:
        with bundles.bundle_folder(family.configs, kind.__name__) as place:
            yield str(place)
    else:
        title = family.title if family else "this file"
        source = f", such as {family.repository}" if family else ""
        raise IncompatibleWeightsError(
            f"Model '{config.name}': how the components of {title} are built is not known.",
            hint=f"Set `config:` to a folder or Hub id with the whole model{source}.",
            model=config.name,
        )


def _given(config: ModelConfig, kind: Any, dtype: torch.dtype, built: str) -> dict[str, Any]:
    """Load the components that have a source of their own."""
    own = {name for name, part in config.parts() if part.model}
    return {name: load_component(config, name, kind, dtype, built) for name in own}


def _lacks(config: ModelConfig, family: Family | None, names: list[str]) -> IncompatibleWeightsError:
    """Return the error that names the components that the file does not bring, and where they could come from."""
    assert family is not None  # noqa: S101 (of a file of no family nothing is known to be missing)
    names = sorted(names)
    example = f"`{names[0]}: {{model: {family.repository}, subfolder: {names[0]}}}`"
    return IncompatibleWeightsError(
        f"Model '{config.name}': the file is of {family.title} and comes without {', '.join(names)}.",
        hint=f"Set `config:` to a folder or Hub id with the whole model, such as {family.repository}, "
        f"or name each under `components:`, such as {example}.",
        model=config.name,
    )
