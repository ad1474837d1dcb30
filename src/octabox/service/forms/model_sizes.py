"""The sizes of a model that is not loaded: its default size, and the multiples that its class requires.

The class computes both from the configurations of its components, which are files of the model's folder.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.catalog.reading.effects.evaluation import COMPARISONS, PipelineValues, UnknownValueError
from octabox.config.model import ModelConfig
from octabox.errors import OctaboxError
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


class ConfiguredModel:
    """A pipeline by the configuration files of its folder, with the attributes that its constructor computes.

    Args:
        entry: The pipeline class.
        folder: Folder of the model.
        replaced: Components that come from elsewhere, whose configuration is not known.
    """

    def __init__(self, entry: PipelineEntry, folder: Path, replaced: frozenset[str] = frozenset()) -> None:
        self._folder, self._replaced = folder, replaced
        self._sources = dict(entry.attributes)
        self._classes = index_components(folder_index(folder))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self._replaced:
            raise UnknownValueError(name)
        if name in self._sources:
            value: Any = _Values(self).value(ast.parse(self._sources[name], mode="eval").body)
        elif name in self._classes:
            file = self._folder / name / "config.json"
            value = ConfiguredComponent(read_settings(file)) if self._classes[name][1] and file.is_file() else None
        else:
            raise AttributeError(name)
        self.__dict__[name] = value
        return value

    def components(self) -> list[ConfiguredComponent]:
        """Return the components that have a configuration file."""
        names = [name for name in self._classes if name not in self._replaced]
        return [part for name in names if isinstance(part := getattr(self, name), ConfiguredComponent)]


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
        if model is not None and (folder := Path(model.model)).is_dir():
            try:
                self._pipe = ConfiguredModel(entry, folder, frozenset(model.components))
            except (OctaboxError, OSError, ValueError):
                return

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
