"""Over how many devices a model is split, and what that does not go together with."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from octabox.config.model import ModelConfig


def model(parallel: Any, **fields: Any) -> ModelConfig:
    """Return a model that is split."""
    return ModelConfig.model_validate({"name": "m", "model": "owner/name", "parallel": parallel, **fields})


@pytest.mark.parametrize(
    ("parallel", "count"),
    [
        (None, 1),
        (1, 1),
        (2, 2),
        ({"devices": 3}, 3),
        ({"devices": ["cuda:1", "cuda:3"]}, 2),
        ({"ulysses_degree": 2, "ring_degree": 2}, 4),
        ({"tp_degree": 2, "devices": 2}, 2),
        ({"ulysses_degree": 2, "ulysses_anything": True}, 2),
        ({"some_new_degree": 2}, 2),
    ],
)
def test_the_number_of_devices_is_stated_or_that_of_the_degrees(parallel: Any, count: int) -> None:
    """It is the product of what ends in ``_degree``, so that degrees of later versions of diffusers count, too."""
    assert count == model(parallel).device_count


def test_settings_of_diffusers_are_kept_as_they_are() -> None:
    """Only the devices are ours."""
    split = model({"ulysses_degree": 2, "ulysses_anything": True, "devices": ["cuda:0", "cuda:1"]})

    assert split.parallel is not None
    assert {"ulysses_degree": 2, "ulysses_anything": True} == split.parallel.settings
    assert ("cuda:0", "cuda:1") == split.device_names
    assert split == ModelConfig.model_validate_json(split.model_dump_json())


@pytest.mark.parametrize(
    ("parallel", "message"),
    [
        ({}, "must be for 2 to 64 devices"),
        ({"ring_degree": 1}, "must be for 2 to 64 devices"),
        (65, "less than or equal to 64"),
        ({"ring_degree": 65}, "must be for 2 to 64 devices"),
        ({"ring_degree": "two"}, "must have a whole number of 1 or more as `ring_degree`"),
        ({"ring_degree": True}, "must have a whole number of 1 or more as `ring_degree`"),
        ({"ring_degree": 2, "devices": 3}, "must have degrees whose product is 3"),
        ({"devices": ["cuda:0", "cuda:0"]}, "must have different `devices`"),
        (True, "valid dictionary"),
    ],
)
def test_a_number_of_devices_that_cannot_be_is_refused(parallel: Any, message: str) -> None:
    """So are degrees that contradict it."""
    with pytest.raises(ValidationError, match=re.escape(message)):
        model(parallel)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"memory": "group_offload"}, "must have no other `memory` than auto or full"),
        ({"batching": "always"}, "must have no other `batching` than auto or never"),
        ({"replicas": 2}, "must have no other `replicas` than auto or 1"),
        ({"ip_adapters": {"model": "owner/adapter"}}, "must have no other `ip_adapters` than none"),
        ({"device": "cuda:1"}, "must have a `device` without an index"),
        ({"components": {"transformer": {"storage": "float8_e4m3fn"}}}, "must not have `storage` of 'transformer'"),
        (
            {"components": {"transformer": {"quantization": {"quant_backend": "gguf"}}}},
            "must not have `quantization` of 'transformer'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str) -> None:
    """Nothing of it is known to work with a model that is split; without that it is allowed."""
    with pytest.raises(ValidationError, match=re.escape(message)):
        model(2, **fields)
    assert model(1, **fields)


def test_a_model_is_placed_on_its_devices() -> None:
    """The first one is its device; where only the type is known, the worker takes as many of that as it needs."""
    placed, unknown, single = (
        model(2).placed_on("cuda:2", "cuda:0"),
        model(2).placed_on("cuda"),
        model(1).placed_on("cuda:1"),
    )
    elsewhere = model({"devices": ["cuda:4", "cuda:5"]}).placed_on("cuda")

    assert ("cuda:2", ("cuda:2", "cuda:0")) == (placed.device, placed.device_names)
    assert ("cuda", (), 2) == (unknown.device, unknown.device_names, unknown.device_count)
    assert ("cuda:1", ()) == (single.device, single.device_names)
    # The names are of one machine, and the worker is on another one.
    assert ("cuda", (), 2) == (elsewhere.device, elsewhere.device_names, elsewhere.device_count)
