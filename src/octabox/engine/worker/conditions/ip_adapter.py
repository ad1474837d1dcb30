"""Load a model's IP-Adapters, and attach them only for calls with image prompts.

An IP-Adapter replaces attention processors of the denoiser and adds a projection. With these diffusers requires an image in
every call, so they are detached for calls without one.
"""

from __future__ import annotations

import inspect
import logging
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from octabox.catalog.conditions.ip_adapter import SCALE_PARAMETER, ip_adapter_inputs
from octabox.config.model import IPAdapterConfig, ModelConfig
from octabox.engine.protocol import Run
from octabox.engine.sources.requests import IMAGE_ENCODER, encoder_folder
from octabox.engine.worker.component_types import component_class
from octabox.engine.worker.conditions.denoiser_state import DenoiserState, changed_modules, restore, snapshot
from octabox.engine.worker.conditions.lora_loading import silence_libraries
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.offload import Placement
from octabox.errors import IncompatibleAdapterError, LoadError, OctaboxError
from octabox.hub.adapters.ip_adapters import check_ip_adapter, resolve_ip_adapter_file
from octabox.hub.files_in_use import hold

logger = logging.getLogger("octabox.adapters")

#: The components that encode and preprocess image prompts.
ENCODER, EXTRACTOR = IMAGE_ENCODER, "feature_extractor"

#: Maximal length of a library's message in an error.
MAX_LENGTH = 300

#: Tensors of an IP-Adapter whose last dimension is the width of the image encoder's output.
INPUT_TENSORS = (
    "image_proj.proj.weight",
    "image_proj.proj_in.weight",
    "image_proj.proj.0.weight",
    "ip_adapter_proj_model.proj.weight",
)


class IPAdapters:
    """The IP-Adapters of one loaded model.

    Args:
        pipe: The model's pipeline; sibling pipelines share its components.
        denoiser: The component that they change.
        detached: The changed state of the denoiser without them.
        attached: The same state with them.
        count: The number of IP-Adapters.
        placement: The placement of the model's components.
    """

    def __init__(
        self,
        pipe: Any,
        denoiser: Any,
        detached: DenoiserState,
        attached: DenoiserState,
        count: int,
        placement: Placement,
    ) -> None:
        self._pipe, self._denoiser, self._placement = pipe, denoiser, placement
        self._detached_state, self._attached_state, self._count = detached, attached, count

    def note_processors(self) -> None:
        """Keep the attention processors that the denoiser has without image prompts, after they were replaced."""
        now = self._denoiser.attn_processors
        processors = {name: now[name] for name in self._detached_state.processors}
        self._detached_state = replace(self._detached_state, processors=processors)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach the IP-Adapters to the denoiser within the context."""
        restore(self._denoiser, self._attached_state)
        try:
            yield
        finally:
            # Detached modules are out of reach of the placement, so they are offloaded before.
            self._placement.restore()
            restore(self._denoiser, self._detached_state)

    @contextmanager
    def activated(self, run: Run) -> Iterator[None]:
        """Attach the IP-Adapters within the context, with the run's scale, if the run has image prompts."""
        if not ip_adapter_inputs(run.inputs):
            yield
            return
        with self.attached():
            self._pipe.set_ip_adapter_scale(self._scale(run.params))
            yield

    def _scale(self, params: Mapping[str, Any]) -> Any:
        """Return the scale argument of diffusers: a list, or a float for one IP-Adapter, as some classes require."""
        scale = params.get(SCALE_PARAMETER, 1.0)
        scales = [float(each) for each in (scale if isinstance(scale, list) else [scale] * self._count)]
        return scales if self._count > 1 else scales[0]


def load_ip_adapters(
    pipe: Any, config: ModelConfig, dtype: torch.dtype, placement: Placement | None = None
) -> IPAdapters | None:
    """Load the IP-Adapters of a configuration, detached from the denoiser.

    Args:
        pipe: The model's pipeline.
        config: The model's configuration.
        dtype: Dtype of an image encoder that is loaded for them.
        placement: The placement of the model's components; None does not offload.

    Returns:
        The IP-Adapters; None if the configuration has none.

    Raises:
        LoadError: The model does not support IP-Adapters, or one cannot be read or is incompatible.
    """
    if not config.ip_adapters:
        return None
    if not hasattr(pipe, "load_ip_adapter"):
        message = f"Model '{config.name}': {type(pipe).__name__} does not support IP-Adapters."
        raise LoadError(message, hint="Remove `ip_adapters` from its configuration.", model=config.name)
    denoiser = next(each for each in pipe.components.values() if hasattr(each, "_load_ip_adapter_weights"))
    files = []
    for part in config.ip_adapters:
        try:
            files.append(_prepare_file(pipe, part, config, dtype))
        except LoadError as error:
            error.message, error.model = f"Model '{config.name}': {error.message}", config.name
            raise
    before = snapshot(denoiser)
    try:
        _load(pipe, files)
    except Exception as error:
        if isinstance(error, OctaboxError) or is_out_of_memory(error):
            raise
        logger.debug("the IP-Adapters of %s could not be loaded", config.name, exc_info=error)
        raise _incompatibility_error(pipe, config, files, _missing_weights(denoiser) or error) from error
    detached, attached = changed_modules(before, snapshot(denoiser))
    _check_complete(pipe, config, files, denoiser, attached)
    restore(denoiser, detached)
    return IPAdapters(pipe, denoiser, detached, attached, len(files), placement or Placement())


def _prepare_file(pipe: Any, part: IPAdapterConfig, config: ModelConfig, dtype: torch.dtype) -> Path:
    """Return the file of an IP-Adapter, and load an image encoder for it if the model has none."""
    file = resolve_ip_adapter_file(part.model, part.subfolder, part.weight_name)
    hold(file)
    shapes = check_ip_adapter(file)
    if ENCODER in inspect.signature(type(pipe).__init__).parameters and pipe.components.get(ENCODER) is None:
        _load_encoder(pipe, part, file, config, dtype)
    encoder = pipe.components.get(ENCODER)
    sizes = {getattr(encoder.config, name, None) for name in ("projection_dim", "hidden_size")} if encoder else set()
    width = next((shapes[name][-1] for name in INPUT_TENSORS if name in shapes), None)
    if encoder is not None and width is not None and width not in sizes:
        actual = " or ".join(str(size) for size in sorted(size for size in sizes if size))
        raise IncompatibleAdapterError(
            f"{file} was trained with an image encoder of width {width}, and this one has {actual}.",
            hint=f"Set the matching one under `components: {{{ENCODER}: ...}}`, or put it next to the file.",
        )
    return file


def _load_encoder(pipe: Any, part: IPAdapterConfig, file: Path, config: ModelConfig, dtype: torch.dtype) -> None:
    """Load the image encoder that comes with an IP-Adapter."""
    cls = component_class(type(pipe), ENCODER)
    subfolder = encoder_folder(part)
    if subfolder is None or cls is None:
        raise LoadError(
            f"{type(pipe).__name__} has no image encoder for its IP-Adapters.",
            hint=f"Set one: components: {{{ENCODER}: {{model: a folder or Hub id}}}}.",
        )
    source = part.model
    if Path(source).is_file():
        source, subfolder = str(file.parent), str(part.image_encoder_folder)
    try:
        encoder = cls.from_pretrained(source, subfolder=subfolder, dtype=dtype)
    except Exception as error:
        found = to_load_error(error, config.model_copy(update={"model": source}))
        if not isinstance(found, LoadError):
            raise found from error
        found.message = f"the image encoder of its IP-Adapter, {source}/{subfolder}: {found.message}"
        found.hint = f"Set one: components: {{{ENCODER}: {{model: a folder or Hub id}}}}, or `image_encoder_folder`."
        raise found from error
    pipe.register_modules(**{ENCODER: encoder.eval()})


def _load(pipe: Any, files: list[Path]) -> None:
    """Load the files, and add a feature extractor if the pipeline has none."""
    encoder = pipe.components.get(ENCODER)
    cls = component_class(type(pipe), EXTRACTOR)
    if encoder is not None and cls is not None and pipe.components.get(EXTRACTOR) is None:
        size = encoder.config.image_size
        pipe.register_modules(**{EXTRACTOR: cls(size=size, crop_size=size)})
    folders, names = [str(file.parent) for file in files], [file.name for file in files]
    is_single = len(files) == 1
    with silence_libraries():
        pipe.load_ip_adapter(
            folders[0] if is_single else folders,
            subfolder="" if is_single else [""] * len(files),
            weight_name=names[0] if is_single else names,
        )


def _check_complete(pipe: Any, config: ModelConfig, files: list[Path], denoiser: Any, attached: DenoiserState) -> None:
    """Refuse files with weights for fewer or more layers than the model has."""
    if error := _missing_weights(denoiser):
        raise _incompatibility_error(pipe, config, files, error)
    expected = sum(1 for each in attached.processors.values() if isinstance(each, torch.nn.Module))
    for file in files:
        count = sum(1 for name in check_ip_adapter(file) if name.endswith("to_k_ip.weight"))
        if count > expected:
            reason = f"it has weights for {count} layers, and this model has {expected}"
            raise _incompatibility_error(pipe, config, [file], ValueError(reason))


def _missing_weights(denoiser: Any) -> ValueError | None:
    """Return an error if files lack weights, which diffusers leaves on the meta device; else None."""
    name = next((name for name, value in denoiser.named_parameters() if value.is_meta), None)
    return ValueError(f"it has no weights for {name}") if name else None


def _incompatibility_error(
    pipe: Any, config: ModelConfig, files: list[Path], error: Exception
) -> IncompatibleAdapterError:
    """Return the error for IP-Adapters that are incompatible with the model."""
    text = f"has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    reason = textwrap.shorten(text, MAX_LENGTH, placeholder=" ...").rstrip(".")
    names = ", ".join(file.name for file in files)
    return IncompatibleAdapterError(
        f"Model '{config.name}': IP-Adapter {names} does not fit this model of {type(pipe).__name__}: {reason}.",
        hint="Check that it was trained for this model family.",
        model=config.name,
    )
