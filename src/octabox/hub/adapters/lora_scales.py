"""The scale of each layer of a LoRA: from its alpha, or from the configuration that a trainer saved with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from octabox.errors import IncompatibleWeightsError
from octabox.hub.adapters.adapter_file import SUFFIXES
from octabox.hub.adapters.registry import FOLDER_FILES
from octabox.security.filesystem import read_file
from octabox.security.json_files import parse_json

#: PEFT's configuration, in the folder of the weights.
CONFIG_FILE = "adapter_config.json"

#: Prefix of the tensor names of PEFT's own files, in which names have no component.
PEFT_PREFIX = "base_model.model."

#: Key of the configuration in the metadata of a file that diffusers saved.
METADATA_KEY = "lora_adapter_metadata"

#: Largest size of a configuration in bytes.
MAX_BYTES = 4 * 2**20

#: Largest number of quantifiers in a pattern, and repeated groups: matching others may take unbounded time.
_MAX_QUANTIFIERS, _QUANTIFIER, _REPEATED_GROUP = 4, re.compile(r"[*+?{]"), re.compile(r"\)[*+?{]")


class LoraScales:
    """The scales of the layers of a LoRA.

    Args:
        config: Settings in the spelling of PEFT, for the layers of all components.
        by_component: Such settings by component, which come first.
    """

    def __init__(
        self, config: Mapping[str, Any] | None = None, by_component: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._config, self._by_component = config or {}, by_component or {}

    def scale(self, layer: str, rank: int, alpha: float | None = None) -> float:
        """Return what the product of a layer's two matrices is multiplied by.

        Args:
            layer: Name of the layer, with its component if the file has it.
            rank: Rank of the matrices.
            alpha: The layer's alpha in the file of weights, which comes before the configuration.
        """
        config = self._by_component.get(layer.partition(".")[0], self._config)
        if alpha is None:
            alpha = _layer_alpha(config, layer)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def read_scales(file: Path, metadata: Mapping[str, str], names: Iterable[str]) -> LoraScales:
    """Return the scales that are configured next to a file of weights, or in its metadata.

    Args:
        file: The file.
        metadata: Its metadata.
        names: Names of its tensors.

    Raises:
        IncompatibleWeightsError: The configuration is damaged.
    """
    if METADATA_KEY in metadata:
        flat = _parse(metadata[METADATA_KEY], f"{METADATA_KEY} in the metadata of {file}")
        by_component: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            component, _, name = key.partition(".")
            by_component.setdefault(component, {})[name] = value
        return LoraScales(by_component=by_component)
    path = file.with_name(CONFIG_FILE)
    if not path.is_file() or not _is_configured(file, names):
        return LoraScales()
    try:
        text = read_file(path, MAX_BYTES + 1)
    except OSError as error:
        raise IncompatibleWeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    return LoraScales(_parse(text, str(path)))


def _is_configured(file: Path, names: Iterable[str]) -> bool:
    """Return whether the configuration in the folder of a file is that of the file: others may be next to it."""
    if file.stem in FOLDER_FILES or any(name.startswith(PEFT_PREFIX) for name in names):
        return True
    return all(each.name == file.name for each in file.parent.iterdir() if each.suffix.lower() in SUFFIXES)


def _parse(text: str | bytes, source: str) -> Mapping[str, Any]:
    """Return settings with their numbers checked."""
    try:
        config = parse_json(text, MAX_BYTES)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise IncompatibleWeightsError(f"{source} is not a JSON object.", hint="It holds the scale of the LoRA.")
    for key, value in config.items():
        if not _is_valid(key.rpartition(".")[2], value):
            raise IncompatibleWeightsError(f"{source} has an invalid `{key}`.", hint="It holds the scale of the LoRA.")
    return config


def _is_valid(name: str, value: object) -> bool:
    """Return whether a setting has the type that the scales need."""
    if name == "lora_alpha":
        return value is None or _is_number(value)
    if name != "alpha_pattern" or value is None:
        return True
    return isinstance(value, dict) and all(_is_number(each) and _is_pattern(key) for key, each in value.items())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pattern(text: str) -> bool:
    if len(_QUANTIFIER.findall(text)) > _MAX_QUANTIFIERS or _REPEATED_GROUP.search(text):
        return False
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _layer_alpha(config: Mapping[str, Any], layer: str) -> float | None:
    """Return the configured alpha of a layer; the keys of a pattern are regular expressions of the end of a name."""
    for key, alpha in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({key})$", layer):
            return float(alpha)
    alpha = config.get("lora_alpha")
    return None if alpha is None else float(alpha)
