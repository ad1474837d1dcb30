"""Refuse weights that do not fill a component, and components that do not fit each other.

The libraries would set missing weights at random and only log it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.loaders import single_file_model, single_file_utils

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.checkpoints.tensors import summarize_names
from octabox.hub.checkpoints.weight_scales import SCALES
from octabox.hub.component_widths import TEXT_ENCODER, TOKENIZER, WIDTH, takes_width

#: Argument of `from_pretrained` for a report about the tensors.
_REPORT = "output_loading_info"

#: Words of the libraries' errors about tensors of another shape.
_SHAPES = ("size mismatch", "shape", "ignore_mismatched_sizes")

#: Ends of the names of the tensors of layers.
_LAYER_TENSORS = (".weight", ".bias")

#: What to do about weights without some of the tensors.
_INCOMPLETE = "The file is incomplete or of another class; download it again, or set a source under `components`."


@contextmanager
def require_all_weights(model: str) -> Iterator[list[str]]:
    """Within the context, raise an error if a component is loaded from weights without some of its tensors.

    Args:
        model: Name of the model, for errors.

    Yields:
        A list to which a sentence is added for each component whose weights have layers that it does not.

    Raises:
        IncompatibleWeightsError: Tensors are missing, or have another shape.
    """
    from transformers import PreTrainedModel  # noqa: PLC0415 (takes a second, which a pipeline may not need before)

    notes: list[str] = []
    with ExitStack() as stack:
        for base in (PreTrainedModel, ModelMixin):
            stack.enter_context(_checked(base, model, notes))
        yield notes


@contextmanager
def require_all_tensors(model: str, file: str) -> Iterator[None]:
    """Within the context, raise an error if a component is loaded from a single file without some of its tensors.

    Args:
        model: Name of the model, for errors.
        file: The file, for errors.

    Raises:
        IncompatibleWeightsError: Tensors are missing, or have another shape.
    """
    load: Callable[..., Any] = single_file_model.load_model_dict_into_meta

    def load_into(component: torch.nn.Module, tensors: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        names = set(component.state_dict())
        try:
            result = load(component, tensors, *args, **options)
        except (ValueError, RuntimeError) as error:
            if not any(word in str(error) for word in _SHAPES):
                raise
            raise _shapes_error(model, type(component), file, error) from error
        # What the file has not filled still has no memory.
        missing = [name for name, tensor in component.state_dict().items() if tensor.is_meta]
        unexpected = [name for name in tensors if name not in names]
        _check_report(model, type(component), file, component, {"missing_keys": missing, "unexpected_keys": unexpected})
        return result

    modules: Sequence[Any] = (single_file_model, single_file_utils)
    for module in modules:
        module.load_model_dict_into_meta = load_into
    try:
        yield
    except KeyError as error:
        # Converters of layouts take each tensor by its name.
        if not isinstance(name := error.args and error.args[0], str):
            raise
        raise IncompatibleWeightsError(
            f"Model '{model}': {file} has no tensor {name}, which its layout requires.", hint=_INCOMPLETE, model=model
        ) from error
    except single_file_utils.SingleFileComponentError as error:
        raise IncompatibleWeightsError(
            f"Model '{model}': {file} lacks a component: {str(error).partition(chr(10))[0]}",
            hint=_INCOMPLETE,
            model=model,
        ) from error
    finally:
        for module in modules:
            module.load_model_dict_into_meta = load


@contextmanager
def _checked(base: Any, model: str, notes: list[str]) -> Iterator[None]:
    """Check the report of a base class's `from_pretrained` within the context, and note the weights that are not used."""
    original = base.__dict__["from_pretrained"]

    def from_pretrained(cls: Any, source: Any, *args: Any, **options: Any) -> Any:
        load: Callable[..., Any] = original.__get__(None, cls)
        if options.get(_REPORT):
            return load(source, *args, **options)
        try:
            loaded, report = load(source, *args, **{**options, _REPORT: True})
        except (ValueError, RuntimeError) as error:
            if isinstance(error, OctaboxError) or not any(word in str(error) for word in _SHAPES):
                raise
            raise _shapes_error(model, cls, _place(source, options), error) from error
        _check_report(model, cls, _place(source, options), loaded, report)
        # Others are buffers, which old versions of the libraries saved, and numbers about the training.
        unused = [name for name in report.get("unexpected_keys") or () if name.endswith(_LAYER_TENSORS)]
        if unused:
            names = summarize_names(dict.fromkeys(unused), 2)
            notes.append(f"{cls.__name__} does not use {len(unused)} tensors of its weights: {names}.")
        return loaded

    base.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        base.from_pretrained = original


def _place(source: object, options: Mapping[str, Any]) -> str:
    """Return the folder or the repository of a component, for messages."""
    return str(Path(str(source)) / str(options.get("subfolder") or ""))


def _shapes_error(model: str, cls: Any, place: str, error: Exception) -> IncompatibleWeightsError:
    return IncompatibleWeightsError(
        f"Model '{model}': the weights in {place} do not fit its configuration: tensors of {cls.__name__} have another "
        f"shape: {' '.join(str(error).split())[:300]}",
        hint="The files are of two models; download the model again, or set a source under `components`.",
        model=model,
    )


def _check_report(model: str, cls: Any, place: str, loaded: Any, report: Mapping[str, Any]) -> None:
    """Check a report of missing tensors, and of scales that are not applied to the weights.

    Raises:
        IncompatibleWeightsError: There are any.
    """
    if scales := [name for name in report.get("unexpected_keys") or () if name.endswith(SCALES)]:
        raise IncompatibleWeightsError(
            f"Model '{model}': the weights in {place} are quantized with scales that {cls.__name__} does not apply: "
            f"{summarize_names(dict.fromkeys(scales), 2)}.",
            hint="Choose weights in 16 bits.",
            model=model,
        )
    missing = dict.fromkeys(report.get("missing_keys") or ())
    if not missing:
        return
    total = len(loaded.state_dict())
    others = dict.fromkeys(report.get("unexpected_keys") or ())
    found = f" It has others instead, such as {summarize_names(others, 2)}." if others else ""
    raise IncompatibleWeightsError(
        f"Model '{model}': the weights in {place} lack {len(missing)} of the {total} tensors of {cls.__name__}: "
        f"{summarize_names(missing)}.{found}",
        hint=_INCOMPLETE,
        model=model,
    )


def check_widths(model: str, components: Mapping[str, Any]) -> None:
    """Check that no token is without an embedding, and that the denoiser takes what the text encoders return.

    Args:
        model: Name of the model, for errors.
        components: Components of its pipeline.

    Raises:
        IncompatibleWeightsError: Two components do not fit.
    """
    for name, tokenizer in components.items():
        if name.startswith(TOKENIZER):
            encoder = components.get(name.replace(TOKENIZER, TEXT_ENCODER))
            _check_vocabulary(model, name, tokenizer, encoder)
    encoders = [part for name, part in components.items() if name.startswith(TEXT_ENCODER) and part is not None]
    for name, part in components.items():
        width = _settings(part).get(WIDTH)
        if isinstance(width, int) and encoders and isinstance(part, torch.nn.Module):
            _check_width(model, name, part, encoders)


def _check_vocabulary(model: str, name: str, tokenizer: Any, encoder: Any) -> None:
    """Check that a tokenizer has no more tokens than its text encoder has embeddings."""
    size = getattr(tokenizer, "vocab_size", None)
    table = None
    # Some encoders have no embeddings, and raise an error.
    with suppress(AttributeError, NotImplementedError):
        table = encoder.get_input_embeddings().weight
    # A quantized table may be packed.
    if not isinstance(size, int) or table is None or not table.is_floating_point() or size <= table.shape[0]:
        return
    raise IncompatibleWeightsError(
        f"Model '{model}': {name} has {size} tokens, but its text encoder has embeddings for {table.shape[0]}.",
        hint="They belong to different models; download the model again, or set their sources under `components`.",
        model=model,
    )


def _check_width(model: str, name: str, denoiser: torch.nn.Module, encoders: Sequence[Any]) -> None:
    """Check that a layer of a denoiser takes the width of a text encoder, or the sum of those of several.

    That need not be a layer of attention: some denoisers change the width before.
    """
    accepted = {size for layer in denoiser.modules() if isinstance(size := getattr(layer, "in_features", None), int)}
    if takes_width(accepted, map(_settings, encoders)):
        return
    width = _settings(denoiser).get(WIDTH)
    widths = " and ".join(str(_settings(encoder).get("hidden_size", "other")) for encoder in encoders)
    raise IncompatibleWeightsError(
        f"Model '{model}': {name} takes text features of width {width}, but the text encoder returns width {widths}.",
        hint="They belong to different models; download the model again, or set their sources under `components`.",
        model=model,
    )


def _settings(component: Any) -> Mapping[str, Any]:
    """Return the settings of a component."""
    config = getattr(component, "config", None) or {}
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)
