"""Load the scaled weights of a LoRA into a pipeline, and count which tensors of its file the model uses."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)

from octabox.engine.replacement import replaced
from octabox.engine.worker.conditions.lora_layers import adapted_layers, set_adapter_variant
from octabox.engine.worker.conditions.lora_widths import find_expanded
from octabox.engine.worker.conditions.traced_tensors import untrace

#: Part of the names of all tensors that belong to the layers of a LoRA.
_LORA = "lora"

#: Part of the tensor names in PEFT's layout, and of those of magnitudes there and in kohya's layout.
_PEFT, _MAGNITUDE, _KOHYA_MAGNITUDE = ".lora_", ".lora_magnitude_vector", ".dora_scale"

#: Prefix of the tensor names of text encoders, the part of them in diffusers' layout, and a part that newer classes omit.
_TEXT, _TEXT_LAYER, _TEXT_MODEL = "text_encoder", ".lora_linear_layer", "text_model."


@dataclass(frozen=True)
class LoadStats:
    """The number of a LoRA's tensors that a model uses.

    Args:
        keys: Number of tensors in the file.
        used: Number of tensors that the model uses.
        unused_names: Names of the others.
        components: Components that use any.
        skipped: Denoisers that it could change as well, but that neither the file nor the request names.
        expands: Whether it is wider than a layer of the model, which diffusers replaces by a wider one.
    """

    keys: int
    used: int
    unused_names: tuple[str, ...]
    components: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    expands: bool = False


@dataclass
class _Conversion:
    """The tensors of a LoRA in the layout of PEFT, and the tensors of the file that each was computed from."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    sources: dict[str, frozenset[str]] = field(default_factory=dict)
    expanded: str = ""


def lora_components(pipe: Any) -> dict[str, torch.nn.Module]:
    """Return the components of a pipeline that support LoRAs."""
    names = getattr(type(pipe), "_lora_loadable_modules", ())
    found = {name: getattr(pipe, name, None) for name in names}
    return {name: part for name, part in found.items() if isinstance(part, torch.nn.Module)}


def equal_denoisers(pipe: Any) -> tuple[str, ...]:
    """Return the names of several denoisers of one class that a LoRA may be loaded into, the default one first."""
    parts = {name: part for name, part in lora_components(pipe).items() if hasattr(part, "load_lora_adapter")}
    default = next(iter(parts), "")
    equal = tuple(name for name, part in parts.items() if type(part) is type(parts[default]))
    return equal if len(equal) > 1 else ()


def load_lora_with_stats(
    pipe: Any, weights: Mapping[str, torch.Tensor], adapter: str, names: Sequence[str], denoisers: Sequence[str] = ()
) -> LoadStats:
    """Load a LoRA under a name and count its tensors.

    Args:
        pipe: A pipeline that supports LoRAs.
        weights: Its tensors, whose scales are 1.
        adapter: Name to load it under.
        names: Names of the weight tensors in the file.
        denoisers: Denoisers to load it into, if the pipeline has several of one class and the request names some.
    """
    default, *others = equal_denoisers(pipe) or ("",)
    named = {other: _with_prefix(weights, other, default) for other in others}
    rest = {
        name: tensor for name, tensor in weights.items() if not name.startswith(tuple(f"{other}." for other in others))
    }
    targets = [name for name in denoisers if name in (default, *others)] or [default]
    if any(named.values()):
        # The names in a file with a half for each denoiser specify what each half is for.
        targets = [default, *(name for name in targets if name in named and not named[name])]
    conversion, components = _Conversion(), lora_components(pipe)
    with silence_libraries():
        if rest:
            with _converting(pipe, conversion, rest, omitted="" if default in targets else default):
                pipe.load_lora_weights(dict(rest), adapter_name=adapter)
            for other in others:
                if other in targets:
                    _load_into(pipe, other, default, conversion, adapter)
        for other, tensors in named.items():
            if tensors:
                part = _Conversion()
                with _converting(pipe, part, tensors):
                    pipe.lora_state_dict(dict(tensors))
                _load_into(pipe, other, default, part, adapter)
                # The same names with the prefix of the default one are those of its own half.
                conversion.sources |= {key: each for key, each in part.sources.items() if key.startswith(f"{other}.")}
    stats = _count_tensors(components, adapter, conversion, names)
    skipped = () if denoisers or any(named.values()) else tuple(others)
    return replace(stats, skipped=skipped, expands=bool(conversion.expanded))


def _with_prefix(weights: Mapping[str, torch.Tensor], prefix: str, new: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names have a prefix, with another one."""
    return {
        f"{new}.{name.removeprefix(f'{prefix}.')}": tensor
        for name, tensor in weights.items()
        if name.startswith(f"{prefix}.")
    }


@contextmanager
def _converting(
    pipe: Any, conversion: _Conversion, weights: Mapping[str, torch.Tensor], omitted: str = ""
) -> Iterator[None]:
    """Within the context, record what a pipeline converts weights to, and let it load all but an omitted component."""
    # diffusers converts the file's names to the model's.
    lora_state_dict, components = pipe.lora_state_dict, lora_components(pipe)

    def convert(*args: Any, **options: Any) -> Any:
        result = lora_state_dict(*args, **options)
        converted, *others = result if isinstance(result, tuple) else (result,)
        _record(conversion, converted, weights, components)
        conversion.expanded = find_expanded(pipe, conversion.tensors, components)
        loadable = _to_loadable(conversion.tensors)
        if omitted:
            loadable = {name: tensor for name, tensor in loadable.items() if not name.startswith(f"{omitted}.")}
        return (loadable, *others) if isinstance(result, tuple) else loadable

    with replaced(pipe, "lora_state_dict", convert):
        yield


def _load_into(pipe: Any, name: str, default: str, conversion: _Conversion, adapter: str) -> None:
    """Load the converted tensors of the default denoiser into another one, and record them as those of that one."""
    tensors = {key: tensor for key, tensor in conversion.tensors.items() if key.startswith(f"{default}.")}
    getattr(pipe, name).load_lora_adapter(tensors, prefix=default, adapter_name=adapter, _pipeline=pipe)
    for key in tensors:
        conversion.sources[f"{name}.{key.removeprefix(f'{default}.')}"] = conversion.sources[key]


def _record(
    conversion: _Conversion,
    converted: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor],
    components: Mapping[str, torch.nn.Module],
) -> None:
    """Record what diffusers has converted the tensors to, with the magnitudes that it removes.

    Others, such as the weights of normalization layers, are left out: diffusers would load them over those of the model.
    """
    tensors: dict[str, torch.Tensor] = {}
    for prefix in dict.fromkeys(name.partition(".")[0] for name in converted):
        part = {name: tensor for name, tensor in converted.items() if name.partition(".")[0] == prefix}
        tensors |= _to_peft(part) if prefix in components else part
    tensors = _add_magnitudes(tensors, weights)
    for name, tensor in tensors.items():
        if _LORA not in name:
            continue
        conversion.tensors[name], conversion.sources[name] = untrace(tensor)


def _to_peft(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a component in the layout of PEFT.

    diffusers detects the layout by the first name, and ignores names in another one.
    """
    peft = {name: tensor for name, tensor in tensors.items() if _PEFT in name and _TEXT_LAYER not in name}
    others = {name: tensor for name, tensor in tensors.items() if name not in peft}
    if any(name.startswith(_TEXT) for name in others):
        for layout in (StateDictType.DIFFUSERS_OLD, StateDictType.DIFFUSERS):
            others = convert_state_dict_to_peft(others, original_type=layout)
    else:
        others = convert_unet_state_dict_to_peft(others)
    return peft | others


def _to_loadable(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors in the layouts that diffusers detects: PEFT's, but its own one for text encoders."""
    loadable = {}
    for name, tensor in tensors.items():
        key = name
        if name.startswith(_TEXT):
            key = name.replace(".lora_A.", f"{_TEXT_LAYER}.down.").replace(".lora_B.", f"{_TEXT_LAYER}.up.")
        loadable[key] = tensor
    return loadable


def _add_magnitudes(tensors: dict[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors with the magnitudes of DoRA in kohya's layout, which diffusers removes."""
    layers = {
        source.partition(".lora_up.")[0]: name
        for name, tensor in tensors.items()
        if ".lora_B." in name
        for source in untrace(tensor)[1]
    }
    found = {}
    for name, tensor in weights.items():
        layer, _, _ = name.partition(_KOHYA_MAGNITUDE)
        up = layers.get(layer)
        # A magnitude for each input, as LyCORIS may save, has no equivalent in PEFT.
        if name.endswith(_KOHYA_MAGNITUDE) and up and tensor.shape[0] == tensor.numel() == len(tensors[up]):
            shape = (1, -1, *tensors[up].shape[2:]) if tensors[up].ndim > 2 else (-1,)  # noqa: PLR2004 (a matrix)
            found[f"{up.partition('.lora_B.')[0]}{_MAGNITUDE}.weight"] = tensor.reshape(shape)
    return tensors | found


def _count_tensors(
    components: Mapping[str, torch.nn.Module], adapter: str, conversion: _Conversion, names: Sequence[str]
) -> LoadStats:
    """Normalize the adapter's layers, and count the tensors of the file that they were loaded from."""
    used: set[str] = set()
    loaded = []
    for component, module in components.items():
        parameters = _adapter_parameters(module, adapter)
        matched = {}
        for name, sources in conversion.sources.items():
            prefix, _, key = name.partition(".")
            if prefix == component and (parameter := _find(parameters, key)):
                matched[parameter] = sources
        used.update(*matched.values())
        magnitudes = {parameter.partition(_MAGNITUDE)[0] for parameter in matched if _MAGNITUDE in parameter}
        for path, layer in adapted_layers(module, adapter):
            set_adapter_variant(layer, adapter, has_magnitude=path in magnitudes)
        if parameters:
            loaded.append(component)
    unused = [name for name in names if name not in used]
    return LoadStats(len(names), len(names) - len(unused), tuple(unused), tuple(loaded))


def _adapter_parameters(component: torch.nn.Module, adapter: str) -> set[str]:
    """Return the names of the parameters that a component has of an adapter, without that of the adapter."""
    paths = (name.split(".") for name, _ in component.named_parameters())
    return {".".join(part for part in path if part != adapter) for path in paths if adapter in path}


def _find(parameters: set[str], key: str) -> str | None:
    """Return the parameter that a converted tensor was loaded into; None if there is none."""
    keys = (key, f"{key}.weight", key.removeprefix(_TEXT_MODEL), f"{key.removeprefix(_TEXT_MODEL)}.weight")
    return next((each for each in keys if each in parameters), None)


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silence the libraries' messages about unknown names, which are reported otherwise."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
