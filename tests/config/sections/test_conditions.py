"""Settings that others make ineffective are reported when the parts of a server are built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from octabox import server
from octabox.config.sections.cluster import ClusterSettings
from octabox.config.sections.conditions import conditions_of, find_ineffective
from octabox.config.settings import Settings
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.engine import RayEngine
from octabox.server import build
from octabox.telemetry.metrics import Metrics

SOURCE = Path(server.__file__).parent

#: Files that build the engines.
BUILDERS = {"server.py", "cluster_engine.py"}


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


def settings_read_by(engine: Any, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the settings that an engine reads where it is built, of itself or of its workers."""
    found: set[str] = set()

    class NotedSettings(Settings):
        def __getattribute__(self, name: str) -> Any:
            if name in Settings.model_fields:
                found.add(name)
            return super().__getattribute__(name)

    class NotedOptions(WorkerOptions):
        def __getattribute__(self, name: str) -> Any:
            if name in WorkerOptions.__dataclass_fields__ and sys._getframe(1).f_globals["__name__"] != "dataclasses":
                found.add(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(RayEngine, "connect", lambda _: None)
    server._build_engine(NotedSettings(engine=engine), NotedOptions(), Metrics())
    return found


def test_each_setting_that_one_engine_does_not_read_declares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is added: it has a warning with the other engine, unless other parts of the server read it too."""
    local, ray = (settings_read_by(engine, monkeypatch) for engine in ("local", "ray"))
    only_one = {
        name: engine for engine, own, other in (("local", local, ray), ("ray", ray, local)) for name in own - other
    }
    others = "".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py") if file.name not in BUILDERS)
    undeclared = [
        name
        for name, engine in only_one.items()
        if conditions_of(Settings.model_fields[name]) != {"engine": engine} and f"settings.{name}" not in others
    ]

    assert {"queue_size", "max_memory", "device"} <= local & ray
    assert {"ray_address", "max_replicas", "cluster_grows"} <= set(only_one)
    assert [] == undeclared


def test_settings_with_an_effect_have_no_warning() -> None:
    """Nor have defaults, also where they are set."""
    for engine in ("local", "ray"):
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
