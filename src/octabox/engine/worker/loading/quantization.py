"""Build the quantization configurations of diffusers and transformers."""

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

#: The argument that takes a torchao object, which a configuration file gives by name.
QUANT_TYPE = "quant_type"

#: The suffix of the names of torchao's classes, which may be left out.
CLASS_SUFFIX = "config"


def build_quantization_config(config: ModelConfig, name: str, cls: Any, dtype: torch.dtype) -> Any:
    """Build a component's quantization configuration for the library of its class.

    Args:
        config: The model's configuration.
        name: Name of the component.
        cls: Its class.
        dtype: Compute dtype, if neither the quantization nor the component sets one.

    Raises:
        LoadError: There is no such backend, or it does not take these arguments.
        MissingDependencyError: The backend's package is not installed.
    """
    part = config.part(name)
    arguments = dict(part.quantization or {})
    library = getattr(cls, "__module__", "").partition(".")[0]
    backends = TRANSFORMERS_BACKENDS if library == "transformers" else DIFFUSERS_BACKENDS
    backend = arguments.pop("quant_backend", None)
    subject = f"Model '{config.name}', component '{name}'"
    if not isinstance(backend, str) or backend not in backends:
        raise LoadError(
            f"{subject}: there is no quantization backend '{backend}'.",
            hint="Set `quant_backend` to one of the choices.",
            model=config.name,
            choices=sorted(backends),
        )
    if backend == "torchao" and QUANT_TYPE in arguments:
        arguments[QUANT_TYPE] = _torchao_type(arguments[QUANT_TYPE], config, subject)
    compute_dtype = dtype if part.dtype in (None, "auto") else getattr(torch, str(part.dtype))
    for parameter in inspect.signature(backends[backend].__init__).parameters:
        # The libraries' defaults are float32 or bfloat16, whatever the component's dtype.
        if parameter.endswith("compute_dtype"):
            arguments[parameter] = _as_dtype(arguments.get(parameter)) or compute_dtype
    try:
        return backends[backend](**arguments)
    except (TypeError, ValueError) as error:
        raise LoadError(
            f"{subject}: the quantization configuration is not valid: {error}",
            hint="Check `quantization`: it takes the arguments of the backend's configuration in diffusers or transformers.",
            model=config.name,
        ) from error


def _as_dtype(value: object) -> Any:
    """Return the torch dtype of a name; any other value unchanged."""
    found = getattr(torch, value, None) if isinstance(value, str) else None
    return found if isinstance(found, torch.dtype) else value


def _torchao_type(value: object, config: ModelConfig, subject: str) -> Any:
    """Return the torchao object for a name, or for a mapping with `name` and arguments.

    Raises:
        LoadError: There is no such type, or it does not take these arguments.
        MissingDependencyError: torchao is not installed.
    """
    if not isinstance(value, (str, Mapping)):
        return value
    if find_spec("torchao") is None:
        message = f"{subject}: the quantization needs the package torchao."
        raise MissingDependencyError(message, hint="Install it: pip install torchao", model=config.name)
    arguments = {"name": value} if isinstance(value, str) else dict(value)
    name = str(arguments.pop("name", ""))
    types = _torchao_types()
    by_name = {_normalize(each): each for each in types}
    if _normalize(name) not in by_name:
        raise LoadError(
            f"{subject}: torchao has no quantization type '{name}'.",
            hint=f"Set `{QUANT_TYPE}` to one of the choices, or to a mapping of `name` and arguments.",
            model=config.name,
            choices=sorted(types),
        )
    try:
        return types[by_name[_normalize(name)]](**{key: _as_dtype(each) for key, each in arguments.items()})
    except (TypeError, ValueError) as error:
        raise LoadError(f"{subject}: `{QUANT_TYPE}`: {name} is not valid: {error}", model=config.name) from error


def _torchao_types() -> dict[str, Any]:
    """Return torchao's configuration classes by name."""
    module = importlib.import_module("torchao.quantization")
    base = importlib.import_module("torchao.core.config").AOBaseConfig
    attributes = {name: getattr(module, name) for name in dir(module)}
    return {
        name: each
        for name, each in attributes.items()
        if isinstance(each, type) and issubclass(each, base) and each is not base and not inspect.isabstract(each)
    }


def _normalize(name: str) -> str:
    """Return a name in the form for comparison, in which `int8_weight_only` equals `Int8WeightOnlyConfig`."""
    return name.replace("_", "").replace("-", "").casefold().removesuffix(CLASS_SUFFIX)
