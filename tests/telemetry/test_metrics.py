"""Prometheus metrics."""

from octabox.telemetry.metrics import Metrics
from octabox.types import ModelStatus


def test_counts() -> None:
    """Requests, their duration and their artifacts are counted by model."""
    metrics = Metrics()
    metrics.count_request("demo", "ok", 0.2, ["image", "image"])
    metrics.count_request("demo", "MediaError", 0.01)
    text = metrics.render([]).decode()

    assert 'octabox_requests_total{model="demo",outcome="ok"} 1.0' in text
    assert 'octabox_requests_total{model="demo",outcome="MediaError"} 1.0' in text
    assert 'octabox_artifacts_total{kind="image",model="demo"} 2.0' in text
    assert 'octabox_request_seconds_bucket{le="0.1",model="demo"} 1.0' in text
    assert 'octabox_request_seconds_count{model="demo"} 2.0' in text


def test_models_as_they_are_now() -> None:
    """Metrics of an unloaded model are removed."""
    metrics = Metrics()
    first = metrics.render([ModelStatus("demo", "ready", memory={"host": 5})], waiting={"demo": 3, "two": 2}).decode()
    second = metrics.render([]).decode()

    assert 'octabox_waiting{model="demo"} 3.0' in first
    assert 'octabox_waiting{model="two"} 2.0' in first
    assert 'octabox_memory_bytes{model="demo",place="host"} 5.0' in first
    assert not {"demo", "two"} & {*second.replace('"', " ").split()}


def test_memory_of_an_accelerator_is_reserved_or_in_use() -> None:
    """Reserved and allocated memory of a device are two metrics."""
    metrics, held = Metrics(), {"host": 5, "cuda:1": 9}
    text = metrics.render([ModelStatus("demo", "ready", memory=held, allocated={"cuda:1": 7})]).decode()

    assert 'octabox_memory_bytes{model="demo",place="cuda:1"} 9.0' in text
    assert 'octabox_memory_allocated_bytes{model="demo",place="cuda:1"} 7.0' in text
    assert 'octabox_memory_allocated_bytes{model="demo",place="host"}' not in text
    assert "cuda:1" not in metrics.render([]).decode()


def test_phases_evictions_and_exhausted_memory_are_counted() -> None:
    """Each by model; a phase that a request did not have is not counted."""
    metrics = Metrics()
    metrics.count_request("demo", "ok", 3, ["image"], {"queue": 0.3, "run": 2})
    metrics.count_request("demo", "ok", 1, ["image"], {"run": 1})
    metrics.count_eviction("demo", "keep_alive")
    metrics.count_out_of_memory("demo")
    text = metrics.render([]).decode()

    assert 'octabox_phase_seconds_sum{model="demo",phase="run"} 3.0' in text
    assert 'octabox_phase_seconds_count{model="demo",phase="queue"} 1.0' in text
    assert 'phase="load"' not in text
    assert 'octabox_evictions_total{model="demo",reason="keep_alive"} 1.0' in text
    assert 'octabox_out_of_memory_total{model="demo"} 1.0' in text


def test_the_sizes_of_batches_are_counted() -> None:
    """By output, so that it shows how many had others beside them."""
    metrics = Metrics()
    metrics.count_request("demo", "ok", 3, ["image", "image"], {}, [4, 4])
    metrics.count_request("demo", "ok", 3, ["image"], {}, [1])
    text = metrics.render([]).decode()

    assert 'octabox_batch_size_bucket{le="1.0",model="demo"} 1.0' in text
    assert 'octabox_batch_size_count{model="demo"} 3.0' in text
    assert 'octabox_batch_size_sum{model="demo"} 9.0' in text


def test_two_servers_in_one_process() -> None:
    """Each server has separate metrics."""
    one, two = Metrics(), Metrics()
    one.count_request("demo", "ok", 1)

    assert b"demo" not in two.render([])
