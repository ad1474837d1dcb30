"""Make the quantization that a configuration asks for into what diffusers and transformers take."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as DIFFUSERS_BACKENDS
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as TRANSFORMERS_BACKENDS

from octabox.config.model import ModelConfig
from octabox.errors import LoadError, MissingDependencyError

#: The argument that takes an object of torchao, where a configuration file can only name one.
TYPE = "quant_type"

#: The end of the names of torchao's classes, which may be left out.
ENDING = "config"


def quantization(config: ModelConfig, name: str, kind: Any, dtype: torch.dtype) -> Any:
    """Return a component's quantization, as the library that its class is of takes it.

    Args:
        config: The model's configuration.
        name: The component.
        kind: Its class.
        dtype: Dtype that it computes in where neither the quantization nor the component says.

    Raises:
        LoadError: There is no such backend, or it does not take these arguments.
        MissingDependencyError: The backend's package is not installed.
    """
    part = config.part(name)
    arguments = dict(part.quantization or {})
    library = getattr(kind, "__module__", "").partition(".")[0]
    backends = TRANSFORMERS_BACKENDS if library == "transformers" else DIFFUSERS_BACKENDS
    backend = arguments.pop("quant_backend", None)
    place = f"Model '{config.name}', component '{name}'"
    if backend not in backends:
        raise LoadError(
            f"{place}: there is no quantization backend '{backend}'.",
            hint="Set `quant_backend` to one of the choices.",
            model=config.name,
            choices=sorted(backends),
        )
    if backend == "torchao" and TYPE in arguments:
        arguments[TYPE] = _torchao_type(arguments[TYPE], config, place)
    own = dtype if part.dtype in (None, "auto") else getattr(torch, str(part.dtype))
    for parameter in inspect.signature(backends[backend].__init__).parameters:
        # The libraries compute in float32, or in bfloat16, where nothing is said.
        if parameter.endswith("compute_dtype"):
            arguments[parameter] = _dtype(arguments.get(parameter)) or own
    try:
        return backends[backend](**arguments)
    except (TypeError, ValueError) as error:
        raise LoadError(
            f"{place}: the quantization cannot be made: {error}",
            hint="Check `quantization`: it takes the arguments of the backend's configuration in diffusers or transformers.",
            model=config.name,
        ) from error


def _dtype(value: object) -> Any:
    """Return the dtype that a text names; anything else as it is."""
    found = getattr(torch, value, None) if isinstance(value, str) else None
    return found if isinstance(found, torch.dtype) else value


def _torchao_type(value: object, config: ModelConfig, place: str) -> Any:
    """Return torchao's object for a name, or for a mapping of a name and its arguments.

    Raises:
        LoadError: There is no such type, or it does not take these arguments.
        MissingDependencyError: Torchao is not installed.
    """
    if not isinstance(value, (str, Mapping)):
        return value
    if find_spec("torchao") is None:
        message = f"{place}: the quantization needs the package torchao."
        raise MissingDependencyError(message, hint="Install it: pip install torchao", model=config.name)
    arguments = {"name": value} if isinstance(value, str) else dict(value)
    name = str(arguments.pop("name", ""))
    types = _torchao_types()
    by_name = {_plain(each): each for each in types}
    if _plain(name) not in by_name:
        raise LoadError(
            f"{place}: torchao has no type of quantization '{name}'.",
            hint=f"Set `{TYPE}` to one of the choices, or to a mapping of its `name` and its arguments.",
            model=config.name,
            choices=sorted(types),
        )
    try:
        return types[by_name[_plain(name)]](**{key: _dtype(each) for key, each in arguments.items()})
    except (TypeError, ValueError) as error:
        raise LoadError(f"{place}: `{TYPE}`: {name} cannot be made: {error}", model=config.name) from error


def _torchao_types() -> dict[str, Any]:
    """Return the classes of torchao that say how weights are quantized, by name."""
    offered = importlib.import_module("torchao.quantization")
    base = importlib.import_module("torchao.core.config").AOBaseConfig
    found = {name: getattr(offered, name) for name in dir(offered)}
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, type) and issubclass(each, base) and each is not base and not inspect.isabstract(each)
    }


def _plain(name: str) -> str:
    """Return a name as it is compared: `int8_weight_only` is `Int8WeightOnlyConfig`."""
    return name.replace("_", "").replace("-", "").casefold().removesuffix(ENDING)
