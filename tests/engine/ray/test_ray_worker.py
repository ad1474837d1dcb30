"""The server's end of a worker on another machine."""

from __future__ import annotations

from fake_worker import PIPELINE, model
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.ray.ray_worker import in_place


def test_a_place_without_an_accelerator_is_on_the_cpu() -> None:
    """The worker would use an accelerator of the node that another replica has reserved; what has one selects it itself."""
    order = Start(model(device=None), PIPELINE, WorkerOptions())
    places = [in_place(order, resources).model.device for resources in ({"CPU": 1.0}, {"GPU": 0.5}, {"GPU": 1.0})]

    assert ["cpu", None, None] == places
