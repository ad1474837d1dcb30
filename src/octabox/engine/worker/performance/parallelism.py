"""Split the components of a model over the processes of its gang, as diffusers plans that for their classes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers import ParallelConfig as DiffusersConfig
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from octabox.config.model import ModelConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.replacement import replaced
from octabox.engine.worker.performance.modules import find_modules
from octabox.engine.worker.placement.casts import find_compute_dtype
from octabox.errors import LoadError

#: Settings of diffusers for a number of devices, the first that a class has a plan for. Ulysses is the fastest of its kinds
#: of attention, and this variant of it takes any size.
BY_NUMBER: tuple[Callable[[int], dict[str, Any]], ...] = (
    lambda size: {"ulysses_degree": size, "ulysses_anything": True},
    lambda size: {"tp_degree": size},
)

#: Setting that is not for a configuration file.
MESH = "mesh"

#: Attribute of a model class with the plan by which its weights are split, rather than what it computes with all of them.
WEIGHTS_PLAN = "_tp_plan"


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
    classes = {name: [each for each in typing.get_args(hints[name]) if each is not type(None)] for name in names}
    return [Method(name, classes[name][0]) for name in names]


@dataclasses.dataclass(frozen=True)
class Splitting:
    """How the components of a model are split over the processes of the group that this process has joined.

    Args:
        config: The model's configuration.
        method: The kind of parallelism.
        settings: Its settings.
        modules: The components to split, by name.
    """

    config: ModelConfig
    method: Method
    settings: Mapping[str, Any]
    modules: Mapping[str, torch.nn.Module]

    @property
    def shards_weights(self) -> bool:
        """Whether each process keeps a part of the weights, so that they are split before they are on its device."""
        return self.method.plan == WEIGHTS_PLAN

    def apply(self, device: str) -> str:
        """Split the components, and return what was split, in words.

        Args:
            device: The device of this process.

        Raises:
            LoadError: Diffusers cannot split one as configured.
        """
        try:
            with _counted_devices():
                for module in self.modules.values():
                    module.enable_parallelism(config=self._build(device))  # type: ignore[operator]
                    _try_attention(module, self.method, self.config.device_count, device)
        except (ValueError, RuntimeError, NotImplementedError, AssertionError, TypeError) as error:
            text = " ".join(str(error).split())
            names = ", ".join(self.method.settings)
            hint = f"Choose other settings of `parallel` ({names}), or another `performance.attention`."
            reason = f"diffusers cannot split the model by {self._words}: {text.rstrip('.')}"
            raise _refused(self.config, reason, hint) from error
        return f"{', '.join(self.modules)} over {self.config.device_count} devices by {self._words}"

    @property
    def _words(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())

    def _build(self, device: str) -> Any:
        """Return the configuration of diffusers, which fails for values that do not go together."""
        made = self.method.config(**self.settings)
        shape, names = (getattr(made, name, None) for name in ("mesh_shape", "mesh_dim_names"))
        if torch.device(device).type == "cpu" and shape:
            # Otherwise diffusers takes the accelerator of the machine.
            made.mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        return made


def choose_splitting(config: ModelConfig, components: Mapping[str, Any]) -> Splitting | None:
    """Return how a model is split, by its configuration and the plans of its components; None if it is not.

    Args:
        config: The model's configuration.
        components: All components by name.

    Raises:
        LoadError: No component has a plan, or diffusers has no such settings.
    """
    if config.parallel is None:
        return None
    modules = find_modules(components)
    method, settings = _choose_method(config, config.parallel, modules)
    planned = {name: module for name, module in modules.items() if _has_plan(method, module)}
    if not planned:
        classes = ", ".join(sorted({type(module).__name__ for module in modules.values()}))
        hint = "Remove `parallel`; `replicas` loads the model on several devices for more requests at the same time."
        raise _refused(config, f"diffusers has no such plan for {classes}", hint)
    return Splitting(config, method, settings, planned)


def may_shard_weights(parallel: ParallelConfig | None) -> bool:
    """Return whether each process may keep only a part of the weights, as far as that is known before the load."""
    if parallel is None or not parallel.settings:
        return parallel is not None
    return any(set(parallel.settings) <= set(each.settings) and each.plan == WEIGHTS_PLAN for each in methods())


def has_sharded_weights(components: Mapping[str, Any]) -> bool:
    """Return whether this process has only a part of the weights of a component."""
    modules = find_modules(components).values()
    return any(isinstance(weight, DTensor) for module in modules for weight in module.parameters())


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
    # Classes of transformers have plans of another kind by the same names.
    return isinstance(module, ModelMixin) and getattr(type(module), method.plan, None) is not None


def _refused(config: ModelConfig, reason: str, hint: str) -> LoadError:
    return LoadError(
        f"Model '{config.name}': `parallel` is not possible: {reason}.",
        hint=hint,
        model=config.name,
        parameter="parallel",
    )
