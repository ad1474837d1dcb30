"""The memory that a model would need."""

from __future__ import annotations

import pytest

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.hub.browsing.memory import Machine
from octabox.service.forms.memory import estimate_memory
from octabox.service.served_model import ServedModel

GIGABYTE = 10**9


def served(source: str) -> ServedModel:
    """Return a model at a place."""
    config = ModelConfig.model_validate({"name": "m", "model": source})
    return ServedModel(config, load_catalog().pipelines["StableDiffusionPipeline"])


def test_weights_are_in_half_precision_on_an_accelerator() -> None:
    """On the CPU they take twice as many bytes."""
    model = served(str(demo.FOLDER))
    on_cpu = estimate_memory(model, Machine(GIGABYTE, accelerator=False, host=GIGABYTE), None, "auto")
    on_accelerator = estimate_memory(model, Machine(GIGABYTE, accelerator=True, host=GIGABYTE), None, "auto")

    assert sum(on_cpu["weights"].values()) == on_cpu["bytes"] == 2 * on_accelerator["bytes"] > 0
    assert (
        on_accelerator["bytes"]
        == estimate_memory(model, Machine(GIGABYTE, accelerator=False, host=GIGABYTE), "cpu", "float16")["bytes"]
    )


@pytest.mark.parametrize(
    ("machine", "fits"),
    [
        (Machine(GIGABYTE, accelerator=True, host=GIGABYTE), "yes"),
        (Machine(1000, accelerator=True, host=GIGABYTE), "offloaded"),
        (Machine(1000, accelerator=True, host=1000), "no"),
        (Machine(1000, accelerator=False, host=1000), "no"),
        (Machine(0, accelerator=False, host=0), None),
    ],
)
def test_whether_it_fits(machine: Machine, fits: str | None) -> None:
    """Into the memory of the accelerator, or of the host with offloading; it is not known where the memory is not."""
    assert fits == estimate_memory(served(str(demo.FOLDER)), machine, None, "auto")["fits"]


def test_a_model_that_is_not_here() -> None:
    """Its files are still to be downloaded, so its bytes are not known."""
    machine = Machine(GIGABYTE, accelerator=False, host=GIGABYTE)

    assert {"weights": None, "bytes": None, "memory": GIGABYTE, "fits": None} == estimate_memory(
        served("org/not-downloaded"), machine, None, "auto"
    )
