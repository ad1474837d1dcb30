"""What of the settings has no effect on a cluster, and what has."""

from __future__ import annotations

import logging

import pytest

from engine.ray.test_reservations import engine_of
from fake_worker import Client, FakeWorkers, call
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.node_options import accelerator_limit, index_warnings, node_options


def test_what_a_node_decides_is_left_out_with_a_warning() -> None:
    """An index of a device, and the limits of one device and of the host; those of types hold for each accelerator."""
    limits = {"cuda:1": 1, "host": 2, "cuda": 3, "devices": 4}
    options, warnings = node_options(WorkerOptions(threads=3, device="cuda:2", max_memory=limits))

    assert WorkerOptions(threads=3, device="cuda", max_memory={"cuda": 3, "devices": 4}) == options
    assert 3 == len(warnings)
    for warning, words in zip(warnings, ("`device: cuda:2`", "`cuda:1`", "`host`"), strict=True):
        assert words in warning
        assert "has no effect with `engine: ray`" in warning


def test_what_has_an_effect_has_no_warning() -> None:
    """Nothing is changed then."""
    options = WorkerOptions(device="cuda", max_memory={"devices": 4})

    assert (options, []) == node_options(options)
    assert () == index_warnings("m", "cuda") == index_warnings("m", None)


@pytest.mark.parametrize(("device", "limit"), [("cuda", 3), ("xpu", 4), (None, 3), ("accelerator", 3)])
def test_an_accelerator_has_the_limit_of_its_type(device: str | None, limit: int) -> None:
    """Where the type is not known, the smallest one."""
    assert limit == accelerator_limit({"cuda": 3, "devices": 4}, device)
    assert accelerator_limit({}, device) is None


async def test_an_engine_warns_once_and_each_model_where_it_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    """The first request of a model whose configuration has an index has the warning, the next one has not."""
    engine = engine_of(FakeWorkers(), options=WorkerOptions(max_memory={"host": 2**30}))
    results = [await Client(engine, call(device="cuda:1")).result() for _ in range(2)]
    await engine.close()
    logged = [record.message for record in caplog.records if record.levelno == logging.WARNING]

    assert 1 == sum("`max_memory` of `host` has no effect" in message for message in logged)
    assert [1, 0] == [sum("`device: cuda:1`" in warning for warning in each.warnings) for each in results]
