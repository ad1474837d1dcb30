"""Performance settings of a model's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from octabox.config.model import ModelConfig
from octabox.config.performance import PROFILES, PerformanceConfig, effective_settings
from octabox.config.settings import Settings


def configured(value: Any) -> PerformanceConfig:
    """Return what a model's configuration makes of a value."""
    return ModelConfig.model_validate({"name": "m", "model": "x", "performance": value}).performance


def test_a_profile_alone_is_a_mapping_with_it() -> None:
    """The short form means the same as the long one."""
    assert configured({"profile": "fast"}) == configured("fast")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"compile": True}, {"compile": "auto"}),
        ({"compile": False}, {"compile": "off"}),
        ({"attention": "SDP"}, {"attention": "native"}),
        ({"attention": "xFormers"}, {"attention": "xformers"}),
        ({"cache": "first_block_cache"}, {"cache": {"method": "first_block_cache", "settings": {}}}),
        ({"cache": False}, {"cache": {"method": "off", "settings": {}}}),
    ],
)
def test_values_are_read_as_people_write_them(written: dict[str, Any], read: dict[str, Any]) -> None:
    """Truth values, other programs' names and names of caches are understood."""
    assert read == configured(written).overrides


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("fasst", "profile"),
        ({"compile_mode": "fastest"}, "compile_mode"),
        ({"chanels_last": True}, "chanels_last"),
        ({"cache": {"method": "auto", "budget": 2}}, "budget"),
    ],
)
def test_what_is_not_there_is_refused_by_its_key(value: Any, key: str) -> None:
    """An unknown profile, mode or setting is an error at its place."""
    with pytest.raises(ValidationError) as caught:
        configured(value)

    assert [key] == [error["loc"][-1] for error in caught.value.errors()]


def test_graphs_of_single_blocks_are_refused() -> None:
    """CUDA graphs of repeated blocks would overwrite each other's results, so the two settings exclude each other."""
    with pytest.raises(ValidationError, match="whole"):
        configured({"compile": "regional", "compile_mode": "reduce-overhead"})


def test_a_setting_is_stronger_than_its_profile() -> None:
    """All other settings are those of the profile; without one, those of the server's."""
    fast = effective_settings(configured({"channels_last": False}), "fast")

    assert (False, "auto", "fast") == (fast.channels_last, fast.compile, fast.profile)
    assert "turbo" == effective_settings(configured("turbo"), "exact").profile


def test_every_profile_says_something_of_every_setting() -> None:
    """Only what diffusers decides by itself is left open."""
    left_open = {
        name
        for profile in PROFILES.values()
        for name in PerformanceConfig.model_fields
        if getattr(profile, name) is None
    }

    assert {"attention", "compile_dynamic"} == left_open


def test_the_server_has_a_profile_in_any_letter_case() -> None:
    """The environment's word is read as the file's."""
    assert "fast" == Settings.load(environ={"OCTABOX_PROFILE": "Fast"}).profile
