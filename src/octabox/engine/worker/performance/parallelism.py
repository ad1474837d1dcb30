"""Split the components of a model over the processes of its gang, as diffusers plans that for their classes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import ParallelConfig as DiffusersConfig
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from octabox.config.model import ModelConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.replacement import replaced
from octabox.engine.worker.performance.modules import find_modules
from octabox.engine.worker.placement.casts import find_compute_dtype
from octabox.errors import LoadError, OctaboxError

#: Settings of diffusers for a number of devices, the first that a class has a plan for. Ulysses is the fastest of its kinds
#: of attention, and this variant of it takes any size.
BY_NUMBER = (
    lambda size: {"ulysses_degree": size, "ulysses_anything": True},
    lambda size: {"tp_degree": size},
)

#: Setting that is not for a configuration file.
MESH = "mesh"


@dataclasses.dataclass(frozen=True)
class Method:
    """A kind of parallelism of diffusers.

    Args:
        name: Its field in diffusers' `ParallelConfig`, such as ``context_parallel_config``.
        config: The class of that field.
    """

    name: str
    config: type[Any]

    @property
    def plan(self) -> str:
        """The attribute of a model class with its plan, such as ``_cp_plan``."""
        return f"_{''.join(word[0] for word in self.name.split('_')[:2])}_plan"

    @property
    def settings(self) -> list[str]:
        """Names of its settings."""
        names = [each.name for each in dataclasses.fields(self.config)]
        return [name for name in names if not name.startswith("_") and name != MESH]


def methods() -> list[Method]:
    """Return the kinds of parallelism of the installed diffusers."""
    hints = typing.get_type_hints(DiffusersConfig)
    names = [each.name for each in dataclasses.fields(DiffusersConfig) if not each.name.startswith("_")]
    return [Method(name, next(filter(dataclasses.is_dataclass, typing.get_args(hints[name])))) for name in names]


def split_components(config: ModelConfig, components: Mapping[str, Any], device: str) -> str:
    """Split the components that have a plan over the processes of the group that this process has joined.

    Args:
        config: The model's configuration.
        components: All components by name, on the device.
        device: The device of this process.

    Returns:
        What was split, in words.

    Raises:
        LoadError: No component has a plan, or diffusers cannot split one as configured.
    """
    assert config.parallel  # noqa: S101 (the caller has looked)
    modules = find_modules(components)
    method, settings = _choose_method(config, config.parallel, modules)
    planned = {name: module for name, module in modules.items() if _has_plan(method, module)}
    if not planned:
        raise _refused(config, f"diffusers has no plan for {', '.join(_class_names(modules))}", _hint_of_plans())
    try:
        with _counted_devices():
            for module in planned.values():
                module.enable_parallelism(config=_build(method, settings, device))  # type: ignore[operator]
                _try_attention(module, method, config.device_count, device)
    except OctaboxError:
        raise
    except (ValueError, RuntimeError, NotImplementedError, AssertionError, TypeError) as error:
        text = " ".join(str(error).split())
        hint = f"Choose other settings of `parallel`: {', '.join(method.settings)}."
        raise _refused(config, f"diffusers cannot split the model by {_describe(settings)}: {text}", hint) from error
    return f"{', '.join(planned)} over {config.device_count} devices by {_describe(settings)}"


def _choose_method(
    config: ModelConfig, parallel: ParallelConfig, modules: Mapping[str, torch.nn.Module]
) -> tuple[Method, dict[str, Any]]:
    """Return the kind of parallelism that a configuration has settings of, and the settings."""
    settings, found = parallel.settings, methods()
    if settings:
        method = next((each for each in found if set(settings) <= set(each.settings)), None)
        if method is None:
            choices = [name for each in found for name in each.settings]
            known = "; ".join(", ".join(each.settings) for each in found)
            unknown = ", ".join(name for name in settings if name not in choices) or ", ".join(settings)
            reason = f"no kind of parallelism of diffusers has the settings {unknown}"
            raise _refused(config, reason, f"They are: {known}.")
        return method, settings
    by_number = [build(parallel.size) for build in BY_NUMBER]
    known_methods = [(each, made) for made in by_number for each in found if set(made) <= set(each.settings)]
    possible = (pair for pair in known_methods if any(_has_plan(pair[0], each) for each in modules.values()))
    return next(possible, known_methods[0])


def _build(method: Method, settings: Mapping[str, Any], device: str) -> Any:
    """Return the configuration of diffusers, which fails for values that do not go together."""
    made = method.config(**settings)
    shape, names = (getattr(made, name, None) for name in ("mesh_shape", "mesh_dim_names"))
    if torch.device(device).type == "cpu" and shape:
        # Otherwise diffusers takes the accelerator of the machine.
        made.mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
    return made


@contextmanager
def _counted_devices() -> Iterator[None]:
    """Let diffusers divide by the number of accelerators within the context, where there are none."""
    has_none = torch.accelerator.device_count() == 0
    with replaced(torch.accelerator, "device_count", distributed.get_world_size) if has_none else nullcontext():
        yield


def _try_attention(module: torch.nn.Module, method: Method, size: int, device: str) -> None:
    """Run a small attention over all processes, where the attention is split, so that a backend that cannot fails now."""
    processors = [getattr(each, "processor", None) for each in module.modules()]
    processor = next((each for each in processors if getattr(each, "_parallel_config", None) is not None), None)
    if processor is None or method.config is not type(getattr(processor._parallel_config, method.name)):  # noqa: SLF001
        return
    dtype = find_compute_dtype(module) or torch.float32
    states = torch.zeros(1, 8, size, 64, dtype=dtype, device=device)
    backend, parallel_config = processor._attention_backend, processor._parallel_config  # noqa: SLF001
    with torch.no_grad():
        dispatch_attention_fn(states, states, states, backend=backend, parallel_config=parallel_config)


def _has_plan(method: Method, module: torch.nn.Module) -> bool:
    return getattr(type(module), method.plan, None) is not None


def _class_names(modules: Mapping[str, torch.nn.Module]) -> list[str]:
    return sorted({type(module).__name__ for module in modules.values()})


def _hint_of_plans() -> str:
    return "Remove `parallel`; `replicas` loads the model on several devices for more requests at the same time."


def _describe(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _refused(config: ModelConfig, reason: str, hint: str) -> LoadError:
    return LoadError(
        f"Model '{config.name}': `parallel` is not possible: {reason}.",
        hint=hint,
        model=config.name,
        parameter="parallel",
    )
