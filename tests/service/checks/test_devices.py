"""Models whose devices a machine does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.service.checks.devices import find_device_problems, names_device


def entry(**fields: Any) -> Entry:
    """Return a model."""
    return Entry(ModelConfig.model_validate({"name": "m", "model": "owner/name", **fields}), Path("m.yaml"))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, False),
        ({"device": "cpu"}, False),
        ({"device": "cuda"}, True),
        ({"parallel": 2}, True),
        ({"parallel": 2, "device": "cpu"}, False),
    ],
)
def test_accelerators_are_listed_for_models_that_need_some(fields: dict[str, Any], *, names: bool) -> None:
    """That takes a process that imports torch."""
    assert names is names_device(entry(**fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parallel": 2}, None),
        ({"parallel": 3}, "The model is split over 3 devices, and this machine has 2."),
        ({"parallel": 2, "device": "mps"}, "There is no device 'mps' on this machine."),
        ({"parallel": 9, "device": "cpu"}, None),
        ({"parallel": {"devices": ["cuda:0", "cuda:1"]}}, None),
        ({"parallel": {"devices": ["cuda:0", "cuda:2"]}}, "There is no device 'cuda:2' on this machine."),
    ],
)
def test_a_model_that_is_split_needs_as_many_devices(fields: dict[str, Any], message: str | None) -> None:
    """A machine with two of them has room for two processes; the CPU for any number."""
    found = [each.message for each in find_device_problems([entry(**fields)], ["cuda:0", "cuda:1"])]

    assert ([] if message is None else [message]) == found
