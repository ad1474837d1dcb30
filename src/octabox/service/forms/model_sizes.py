"""The sizes of a model that is not loaded: its default size, and the multiples that its class requires.

The class computes both from the configurations of its components: files of the model's folder or of its snapshot in the Hub's
cache; those of a single file are in the model that completes it, or shipped with its family.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.catalog.reading.effects.evaluation import COMPARISONS, PipelineValues, UnknownValueError
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.memory.places import component_path, model_path
from octabox.errors import OctaboxError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.component_files import read_settings
from octabox.hub.folder import folder_index, index_components

#: Functions that the source of a constructor may call.
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {each.__name__: each for each in (len, sum, int, max, getattr, hasattr)}

#: Errors of an expression over configurations that are not as its class expects them.
_FAILURES = (AttributeError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, UnknownValueError)


class ConfiguredComponent:
    """A component by its configuration file, whose values are its attributes too.

    Args:
        config: The values of the file.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.values = config
        self.config = self

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class ComponentConfigs:
    """The configurations of the components of a model.

    Args:
        classes: Library and class of each component; None for those that are left out.
        read: Returns the ``config.json`` of a component; None if it has none, as schedulers.
    """

    classes: Mapping[str, tuple[str | None, str | None]]
    read: Callable[[str], Mapping[str, Any] | None]


def find_configs(model: ModelConfig) -> ComponentConfigs | None:
    """Return the configurations of a model's components; None if they are not on this machine.

    Raises:
        OctaboxError: A file or an index cannot be read.
        OSError: Likewise.
    """
    path = model_path(model)
    if path is not None and path.is_file():
        if model.config is None:
            family = match_family(read_shapes(path))
            return _bundled_configs(family.configs) if family is not None and family.configs else None
        path = component_path(model.config)
    return _folder_configs(path) if path is not None and path.is_dir() else None


def _folder_configs(folder: Path) -> ComponentConfigs:
    def read(name: str) -> Mapping[str, Any] | None:
        file = folder / name / "config.json"
        return read_settings(file) if file.is_file() else None

    return ComponentConfigs(index_components(folder_index(folder)), read)


def _bundled_configs(bundle: str) -> ComponentConfigs:
    return ComponentConfigs(bundles.component_classes(bundle), partial(bundles.component_config, bundle))


class ConfiguredModel:
    """A pipeline by the configurations of its components, with the attributes that its constructor computes.

    Args:
        entry: The pipeline class.
        configs: The configurations.
        components: The configured components, which replace those of the model.
    """

    def __init__(
        self,
        entry: PipelineEntry,
        configs: ComponentConfigs,
        components: Mapping[str, ComponentConfig | tuple[ComponentConfig, ...]] = MappingProxyType({}),
    ) -> None:
        self._configs, self._components = configs, components
        self._sources = dict(entry.attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise UnknownValueError(name)
        if name in self._sources:
            value: Any = _Values(self).value(ast.parse(self._sources[name], mode="eval").body)
        elif name in self._configs.classes or name in self._components:
            config = self._config(name)
            value = None if config is None else ConfiguredComponent(config)
        else:
            raise AttributeError(name)
        self.__dict__[name] = value
        return value

    def _config(self, name: str) -> Mapping[str, Any] | None:
        """Return the configuration of a component, from the source that it would be loaded from; None without one.

        Raises:
            UnknownValueError: That source is not on this machine.
        """
        part = self._components.get(name, ComponentConfig())
        if isinstance(part, tuple) or (part.model is None and part.subfolder is not None):
            raise UnknownValueError(name)
        if part.omit:
            return None
        if part.model is not None:
            source = component_path(part.model)
            if source is None:
                raise UnknownValueError(name)
            file = (source.parent if source.is_file() else source / (part.subfolder or "")) / "config.json"
            if file.is_file() or source.is_dir():
                return read_settings(file)
            # Without one next to it, a single file has the configuration of the model's own component.
        return self._configs.read(name) if self._configs.classes.get(name, (None, None))[1] else None

    def components(self) -> list[ConfiguredComponent]:
        """Return the components that have a configuration file."""
        found = (getattr(self, name) for name in self._configs.classes)
        return [part for part in found if isinstance(part, ConfiguredComponent)]


class _Values(PipelineValues):
    """The values of expressions over configurations, with calls of functions that only look."""

    def _compound(self, node: ast.expr) -> Any:
        if isinstance(node, ast.IfExp):
            return self.value(node.body if self.value(node.test) else node.orelse)
        if isinstance(node, ast.BoolOp):
            return self._decide(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self.value(node.operand)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return COMPARISONS[type(node.ops[0])](self.value(node.left), self.value(node.comparators[0]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return _FUNCTIONS[node.func.id](*map(self.value, node.args))
        if isinstance(node, ast.Slice):
            return slice(*(part and self.value(part) for part in (node.lower, node.upper, node.step)))
        raise UnknownValueError(ast.dump(node))

    def _decide(self, node: ast.BoolOp) -> Any:
        """Return the value of ``and`` and ``or``, which evaluate only what decides."""
        value: Any = None
        for each in node.values:
            value = self.value(each)
            if bool(value) is isinstance(node.op, ast.Or):
                return value
        return value


class ModelSizes:
    """The default size of a model and the multiples of its sizes; those that are not known are None.

    Args:
        entry: The pipeline class that runs on its weights.
        model: The configuration of the model; None for what the class states by itself.
    """

    def __init__(self, entry: PipelineEntry, model: ModelConfig | None = None) -> None:
        self._pipe: ConfiguredModel | None = None
        with suppress(OctaboxError, OSError, ValueError):
            if model is not None and (configs := find_configs(model)) is not None:
                self._pipe = ConfiguredModel(entry, configs, model.components)

    def multiple(self, rule: SizeRule) -> int | None:
        """Return the number whose multiples a rule requires."""
        return rule.multiple or _positive(self._value(rule.expression))

    def default_side(self) -> int | None:
        """Return the width and height, in pixels, that the model makes by default."""
        scale = self._value("vae_scale_factor")
        side = self._value("default_sample_size")
        if side is None:
            side = self._sample_size()
        return _positive(side * scale) if isinstance(side, int) and isinstance(scale, int) else None

    def _sample_size(self) -> int | None:
        """Return the sample size of the denoiser; autoencoders, which have one too, state their latent channels."""
        try:
            parts = self._pipe.components() if self._pipe is not None else []
        except (*_FAILURES, OSError):
            return None
        sizes = (part.values.get("sample_size") for part in parts if "latent_channels" not in part.values)
        return next((size for size in sizes if isinstance(size, int)), None)

    def _value(self, expression: str) -> Any:
        """Return the value of an expression over the attributes of the pipeline."""
        if self._pipe is None or not expression:
            return None
        try:
            return _Values(self._pipe).value(ast.parse(expression, mode="eval").body)
        except (SyntaxError, OSError, *_FAILURES):
            return None


def _positive(value: Any) -> int | None:
    """Return a value as a number of pixels or frames; None if it cannot be one."""
    return int(value) if isinstance(value, int | float) and value >= 1 else None
