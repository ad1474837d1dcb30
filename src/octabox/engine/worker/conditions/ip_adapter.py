"""Load a model's IP-Adapters, and let them be part of it in calls that bring images for them, and in no others.

An IP-Adapter puts other attention processors into the denoiser and a projection beside them. With those in place diffusers
makes no call without an image, so that they are taken out and put in again: what there was before is what other calls get.
"""

from __future__ import annotations

import inspect
import logging
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from octabox.catalog.conditions.ip_adapter import SCALE_PARAMETER, ip_adapter_inputs
from octabox.config.model import IPAdapterConfig, ModelConfig
from octabox.engine.protocol import Run
from octabox.engine.worker.component_types import component_class
from octabox.engine.worker.conditions.denoiser_state import State, differing, put, snapshot
from octabox.engine.worker.conditions.lora_loading import quiet_libraries
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.placement.offload import Placement
from octabox.errors import IncompatibleAdapterError, LoadError, OctaboxError
from octabox.hub.adapters.ip_adapters import check_ip_adapter, resolve_ip_adapter_file

logger = logging.getLogger("octabox.adapters")

#: The component that looks at the images, and the one that brings them into its form.
ENCODER, EXTRACTOR = "image_encoder", "feature_extractor"

#: Longest part of a library's message that is passed on.
MAX_LENGTH = 300

#: Tensors of an IP-Adapter whose last side is as wide as what it takes of the image encoder.
INWARD = (
    "image_proj.proj.weight",
    "image_proj.proj_in.weight",
    "image_proj.proj.0.weight",
    "ip_adapter_proj_model.proj.weight",
)


class IPAdapters:
    """The IP-Adapters of one loaded model.

    Args:
        pipe: The model's own pipeline; others over its components share what is put into them.
        denoiser: The component that they change.
        without: Its parts without them.
        within: The same parts with them.
        count: How many there are.
        placement: Where the model's components are.
    """

    def __init__(
        self, pipe: Any, denoiser: Any, without: State, within: State, count: int, placement: Placement
    ) -> None:
        self._pipe, self._denoiser, self._placement = pipe, denoiser, placement
        self._without, self._within, self._count = without, within, count

    @contextmanager
    def put_in(self) -> Iterator[None]:
        """Let them be part of the model while this lasts."""
        put(self._denoiser, self._within)
        try:
            yield
        finally:
            # Else they would stay where they are at work, where nothing that is done to the model reaches them.
            self._placement.restore()
            put(self._denoiser, self._without)

    @contextmanager
    def installed(self, run: Run) -> Iterator[None]:
        """Put them in for as long as a call lasts, where it brings images for them."""
        if not ip_adapter_inputs(run.inputs):
            yield
            return
        with self.put_in():
            self._pipe.set_ip_adapter_scale(self._scale(run.params))
            yield

    def _scale(self, params: Mapping[str, Any]) -> Any:
        """Return how strongly each works, as diffusers takes it: one number for one, which some classes want."""
        scale = params.get(SCALE_PARAMETER, 1.0)
        scales = [float(each) for each in (scale if isinstance(scale, list) else [scale] * self._count)]
        return scales if self._count > 1 else scales[0]


def load_ip_adapters(
    pipe: Any, config: ModelConfig, dtype: torch.dtype, placement: Placement | None = None
) -> IPAdapters | None:
    """Load the IP-Adapters of a configuration, beside the model.

    Args:
        pipe: The model's own pipeline.
        config: The model's configuration.
        dtype: Type of numbers of an image encoder that is loaded for them.
        placement: Where the model's components are to be; None where they stay.

    Returns:
        What puts them in; None where there are none.

    Raises:
        LoadError: The model takes none, or one of them cannot be read or does not fit it.
    """
    if not config.ip_adapters:
        return None
    if not hasattr(pipe, "load_ip_adapter"):
        message = f"Model '{config.name}': {type(pipe).__name__} takes no IP-Adapter."
        raise LoadError(message, hint="Take `ip_adapters` out of its configuration.", model=config.name)
    denoiser = next(each for each in pipe.components.values() if hasattr(each, "_load_ip_adapter_weights"))
    files = []
    for part in config.ip_adapters:
        try:
            files.append(_checked(pipe, part, config, dtype))
        except LoadError as error:
            error.message, error.model = f"Model '{config.name}': {error.message}", config.name
            raise
    before = snapshot(denoiser)
    try:
        _load(pipe, files)
    except Exception as error:
        if isinstance(error, OctaboxError | MemoryError | torch.OutOfMemoryError):
            raise
        logger.debug("the IP-Adapters of %s could not be loaded", config.name, exc_info=error)
        raise _unfit(pipe, config, files, _lacking(denoiser) or error) from error
    without, within = differing(before, snapshot(denoiser))
    _check_whole(pipe, config, files, denoiser, within)
    put(denoiser, without)
    return IPAdapters(pipe, denoiser, without, within, len(files), placement or Placement())


def _checked(pipe: Any, part: IPAdapterConfig, config: ModelConfig, dtype: torch.dtype) -> Path:
    """Return the file of an IP-Adapter, and let the model have an image encoder that fits it."""
    file = resolve_ip_adapter_file(part.model, part.subfolder, part.weight_name)
    shapes = check_ip_adapter(file)
    if ENCODER in inspect.signature(type(pipe).__init__).parameters and pipe.components.get(ENCODER) is None:
        _load_encoder(pipe, part, file, config, dtype)
    encoder = pipe.components.get(ENCODER)
    sizes = {getattr(encoder.config, name, None) for name in ("projection_dim", "hidden_size")} if encoder else set()
    wide = next((shapes[name][-1] for name in INWARD if name in shapes), None)
    if encoder is not None and wide is not None and wide not in sizes:
        told = " or ".join(str(size) for size in sorted(size for size in sizes if size))
        raise IncompatibleAdapterError(
            f"{file} was trained with an image encoder of width {wide}, and this one has {told}.",
            hint=f"Give the right one under `components: {{{ENCODER}: ...}}`, or beside the file.",
        )
    return file


def _load_encoder(pipe: Any, part: IPAdapterConfig, file: Path, config: ModelConfig, dtype: torch.dtype) -> None:
    """Load the image encoder that comes with an IP-Adapter, and what brings images into its form."""
    kind = component_class(type(pipe), ENCODER)
    folder = part.image_encoder_folder
    if folder is None or kind is None:
        raise LoadError(
            f"{type(pipe).__name__} has no image encoder for its IP-Adapters.",
            hint=f"Name one: components: {{{ENCODER}: {{model: a folder or Hub id}}}}.",
        )
    place = folder if "/" in folder else "/".join(filter(None, (part.subfolder, folder)))
    source = part.model
    if Path(source).is_file():
        source, place = str(file.parent), folder
    try:
        encoder = kind.from_pretrained(source, subfolder=place, dtype=dtype)
    except Exception as error:
        found = to_load_error(error, config.model_copy(update={"model": source}))
        if not isinstance(found, LoadError):
            raise found from error
        found.message = f"the image encoder of its IP-Adapter, {source}/{place}: {found.message}"
        found.hint = f"Name one: components: {{{ENCODER}: {{model: a folder or Hub id}}}}, or `image_encoder_folder`."
        raise found from error
    pipe.register_modules(**{ENCODER: encoder.eval()})


def _load(pipe: Any, files: list[Path]) -> None:
    """Load the files, with what brings images into the image encoder's form where the pipeline has none."""
    encoder = pipe.components.get(ENCODER)
    kind = component_class(type(pipe), EXTRACTOR)
    if encoder is not None and kind is not None and pipe.components.get(EXTRACTOR) is None:
        side = encoder.config.image_size
        pipe.register_modules(**{EXTRACTOR: kind(size=side, crop_size=side)})
    sources, names = [str(file.parent) for file in files], [file.name for file in files]
    alone = len(files) == 1
    with quiet_libraries():
        pipe.load_ip_adapter(
            sources[0] if alone else sources,
            subfolder="" if alone else [""] * len(files),
            weight_name=names[0] if alone else names,
        )


def _check_whole(pipe: Any, config: ModelConfig, files: list[Path], denoiser: Any, within: State) -> None:
    """Refuse files that have not all that was put in, or more for attention layers than the model has of them."""
    if lacking := _lacking(denoiser):
        raise _unfit(pipe, config, files, lacking)
    places = sum(1 for each in within.processors.values() if isinstance(each, torch.nn.Module))
    for file in files:
        found = sum(1 for name in check_ip_adapter(file) if name.endswith("to_k_ip.weight"))
        if found > places:
            reason = f"it has weights for {found} layers, and this model has {places}"
            raise _unfit(pipe, config, [file], ValueError(reason))


def _lacking(denoiser: Any) -> ValueError | None:
    """Return what is wrong with files that do not hold all that was put in: diffusers leaves the rest without numbers."""
    empty = next((name for name, value in denoiser.named_parameters() if value.is_meta), None)
    return ValueError(f"it has nothing for {empty}") if empty else None


def _unfit(pipe: Any, config: ModelConfig, files: list[Path], error: Exception) -> IncompatibleAdapterError:
    """Return the error for IP-Adapters that the model cannot take."""
    what = f"has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    reason = textwrap.shorten(what, MAX_LENGTH, placeholder=" ...").rstrip(".")
    names = ", ".join(file.name for file in files)
    return IncompatibleAdapterError(
        f"Model '{config.name}': IP-Adapter {names} does not fit this model of {type(pipe).__name__}: {reason}.",
        hint="Was it trained for another family of models?",
        model=config.name,
    )
