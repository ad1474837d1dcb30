"""Read what a single file states about its scheduler.

It does so by marker tensors, in a training configuration next to it, or in its metadata.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import read_header, read_numbers, read_shapes
from octabox.hub.folder import CHECKPOINT_SUFFIXES
from octabox.security.filesystem import read_file

#: Suffixes of a training configuration, which has the name of the file; its largest size in bytes and number of values.
CONFIG_SUFFIXES, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES = (".yaml", ".yml"), 128 * 1024, 10_000

#: Prefixes of the fields of metadata.
_PREFIXES = ("ss_", "sshs_", "ot_")

#: Setting for what a model predicts, and its value for velocities.
PREDICTION, VELOCITY = "prediction_type", "v_prediction"

#: Statements about what the model predicts, the decisive one of several first.
_PREDICTIONS = ("edm", "velocity", "noise")


@dataclass(frozen=True)
class SchedulerStatement:
    """What a file states about its scheduler.

    Args:
        settings: Settings of the scheduler; `_class_name` is its class, where that of the family lacks a setting.
        sources: Where the file states it, for messages.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    @property
    def states_prediction(self) -> bool:
        """Whether the file states what the model predicts."""
        return PREDICTION in self.settings


def stated_scheduler(
    file: Path, config: Mapping[str, Any], known: Collection[str], requested: Mapping[str, Any]
) -> SchedulerStatement:
    """Return the settings that a file states for its scheduler; none if the configuration of the model contradicts them.

    Args:
        file: The file.
        config: Configuration of the scheduler of the model's family.
        known: Settings of its class.
        requested: Settings of the scheduler in the configuration of the model, which take precedence.

    Raises:
        IncompatibleWeightsError: The file is damaged or truncated.
        RemoteCodeError: The file is a pickle that would run code.
    """
    statements = _statements(file) if PREDICTION in known else {}
    found = next((each for each in _PREDICTIONS if each in statements), None)
    settings: dict[str, Any] = dict(_table()["settings"][found]) if found else {}
    predicted = settings.get(PREDICTION, config.get(PREDICTION))
    if requested.get(PREDICTION, predicted) != predicted:
        return SchedulerStatement()
    used = [found] if found else []
    if found == "edm":
        settings |= read_numbers(file, _table()["values"])
    elif "zero_snr" in statements and predicted == VELOCITY:
        settings |= _table()["settings"]["zero_snr"]
        used.append("zero_snr")
    classes = _table()["classes"]
    if settings.keys() - set(known):
        settings["_class_name"] = next(classes[each] for each in used if each in classes)
    return SchedulerStatement(settings, tuple(statements[each] for each in used))


def is_training_config(data: object) -> bool:
    """Return whether the content of a YAML file is a training configuration, which names the classes of a model."""
    model = data.get("model") if isinstance(data, Mapping) else None
    return isinstance(model, Mapping) and "target" in model


def has_weights(path: Path) -> bool:
    """Return whether there is a single file with the name of a training configuration."""
    return any(path.with_suffix(suffix).is_file() for suffix in CHECKPOINT_SUFFIXES)


@cache
def _table() -> Mapping[str, Any]:
    data = yaml.safe_load((files("octabox.hub.checkpoints") / "predictions.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)  # noqa: S101 (bundled data)
    return data


def _statements(file: Path) -> dict[str, str]:
    """Return what a file states, and where; tensors are more reliable than configurations, and those than metadata."""
    is_safetensors = file.suffix.lower() == ".safetensors"
    shapes, metadata = read_header(file) if is_safetensors else (read_shapes(file), {})
    found: dict[str, str] = {}
    for statements in (_by_tensors(shapes), _by_config(file), _by_metadata(metadata)):
        is_decided = any(each in found for each in _PREDICTIONS)
        for name, source in statements.items():
            if not (is_decided and name in _PREDICTIONS):
                found.setdefault(name, source)
    return found


def _by_tensors(shapes: Collection[str]) -> dict[str, str]:
    return {meaning: f"its tensor {name}" for name, meaning in _table()["tensors"].items() if name in shapes}


def _by_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in metadata.items():
        key = name.rpartition(".")[2]
        key = next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)
        if meaning := _meaning(key, value):
            found.setdefault(meaning, f"`{name}` in its metadata")
    return found


def _by_config(file: Path) -> dict[str, str]:
    path = next((each for suffix in CONFIG_SUFFIXES if (each := file.with_suffix(suffix)).is_file()), None)
    data = None if path is None else _read_config(path)
    if path is None or not is_training_config(data):
        return {}
    found: dict[str, str] = {}
    for key, value in _fields(data):
        if meaning := _meaning(key, value):
            found.setdefault(meaning, f"`{key}` in {path.name}")
    return found


def _meaning(key: str, value: object) -> str | None:
    """Return what a field states; None if it states nothing about the scheduler."""
    values: Mapping[str, str] = _table()["fields"].get(key, {})
    # The text of a list with aliases may be far larger than the file.
    return values.get(str(value).strip().lower().rpartition(".")[2]) if isinstance(value, str | int) else None


class _Loader(yaml.SafeLoader):
    """Take ``<<`` as a key like others: merged mappings that refer to others may expand without end."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the name is PyYAML's)
        start: each for start, each in yaml.SafeLoader.yaml_implicit_resolvers.items() if start != "<"
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave a mapping as it is."""


def _read_config(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        IncompatibleWeightsError: It is too large, or not valid YAML.
    """
    try:
        content = read_file(path, MAX_CONFIG_BYTES + 1)
        if len(content) <= MAX_CONFIG_BYTES:
            return yaml.load(content, _Loader)  # noqa: S506 (a SafeLoader)
        reason = f"it is larger than {MAX_CONFIG_BYTES // 1024} KiB"
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0]
    hint = "It has the name of the model's file, and is read as its training configuration; fix it, or rename it."
    raise IncompatibleWeightsError(f"{path} cannot be read: {reason}.", hint=hint)


def _fields(data: object) -> Iterator[tuple[str, Any]]:
    """Yield the fields of all mappings in a configuration; those that several aliases refer to once."""
    remaining, seen = [data], set[int]()
    while remaining and len(seen) < MAX_CONFIG_VALUES:
        value = remaining.pop(0)
        if id(value) in seen:
            continue
        if isinstance(value, Mapping):
            seen.add(id(value))
            yield from ((key, each) for key, each in value.items() if isinstance(key, str))
            remaining += value.values()
        elif isinstance(value, list):
            seen.add(id(value))
            remaining += value
