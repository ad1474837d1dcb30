"""Settings that others make ineffective are reported when the parts of a server are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octabox.config.sections.cluster import ClusterSettings
from octabox.config.sections.conditions import conditions_of, find_ineffective
from octabox.config.settings import Settings
from octabox.server import build


def ineffective(settings: Settings) -> list[str]:
    """Return the warnings about settings."""
    return find_ineffective(settings, settings.sources)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"ray_address": "10.0.0.5:6379"}, ["--ray-address", "`engine: local`; it needs `engine: ray`"]),
        ({"max_replicas": 2}, ["`max_replicas`"]),
        ({"cluster_grows": True}, ["`cluster_grows`"]),
        (
            {"a1111": False, "a1111_server_control": True},
            ["`a1111_server_control`", "`a1111: false`; it needs `a1111: true`"],
        ),
        ({"a1111": False, "a1111_auth": "me:secret"}, ["`a1111_auth`"]),
    ],
)
def test_a_setting_without_effect_is_reported(flags: dict[str, Any], words: list[str]) -> None:
    """With its source and the setting that it needs; its value, which may be secret, is not shown."""
    (warning,) = ineffective(Settings.load(flags, environ={}))

    assert [] == [word for word in words if word not in warning]
    assert "secret" not in warning


def test_settings_with_an_effect_have_no_warning() -> None:
    """Nor have defaults, also where they are set."""
    for engine in ("local", "ray"):  # Workers of a cluster keep this limit, too.
        assert [] == ineffective(Settings.load({"max_memory": "20GiB", "engine": engine}, environ={}))
    assert [] == ineffective(Settings.load({"engine": "ray", "max_replicas": 2, "cluster_grows": True}, environ={}))
    assert [] == ineffective(Settings.load({"max_replicas": 0, "cluster_grows": False}, environ={}))


def test_each_setting_of_a_cluster_requires_it() -> None:
    """Those that are added later too; and each condition is about a setting that exists."""
    # Servers without a cluster share files too.
    everywhere = {"engine", "file_store"}
    others = {name: field for name, field in ClusterSettings.model_fields.items() if name not in everywhere}
    named = {other for field in Settings.model_fields.values() for other in conditions_of(field)}

    assert others
    assert [] == [name for name, field in others.items() if conditions_of(field) != {"engine": "ray"}]
    assert named <= set(Settings.model_fields)


def test_they_are_logged_where_the_engine_is_built(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once, whichever command builds it."""
    build(Settings.load({"models": tmp_path, "max_replicas": 2}, environ={}))

    text = "--max-replicas: `max_replicas` has no effect with `engine: local`; it needs `engine: ray`."
    assert 1 == capfd.readouterr().err.count(text)
