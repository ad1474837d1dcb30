"""Figures for Prometheus."""

from octabox.telemetry.metrics import Metrics
from octabox.types import ModelStatus


def test_counts() -> None:
    """Requests, their seconds and their artifacts are counted by model."""
    metrics = Metrics()
    metrics.ended("demo", "ok", 0.2, ["image", "image"])
    metrics.ended("demo", "MediaError", 0.01)
    text = metrics.render([]).decode()

    assert 'octabox_requests_total{model="demo",outcome="ok"} 1.0' in text
    assert 'octabox_requests_total{model="demo",outcome="MediaError"} 1.0' in text
    assert 'octabox_artifacts_total{kind="image",model="demo"} 2.0' in text
    assert 'octabox_request_seconds_bucket{le="0.1",model="demo"} 1.0' in text
    assert 'octabox_request_seconds_count{model="demo"} 2.0' in text


def test_models_as_they_are_now() -> None:
    """Figures of a model that has left memory are gone."""
    metrics = Metrics()
    first = metrics.render([ModelStatus("demo", "ready", memory={"host": 5}, waiting=3)]).decode()
    second = metrics.render([]).decode()

    assert 'octabox_waiting{model="demo"} 3.0' in first
    assert 'octabox_memory_bytes{model="demo",place="host"} 5.0' in first
    assert "demo" not in second


def test_two_servers_in_one_process() -> None:
    """Each server has figures of its own."""
    one, two = Metrics(), Metrics()
    one.ended("demo", "ok", 1)

    assert b"demo" not in two.render([])
