"""The line of the log about a request."""

from __future__ import annotations

from octabox.telemetry.request_line import describe_generation, speed
from octabox.types import Artifact, Generation

METADATA = {"params": {"num_inference_steps": 20}, "size": {"width": 64, "height": 32}}
IMAGE = Artifact("image", "image/png", b"", 7, METADATA)


def test_the_line_has_what_a_request_was() -> None:
    """Two images of the same size and steps, with their seeds, the speed over both, and what was not honoured."""
    images = (IMAGE, Artifact("image", "image/png", b"", 8, METADATA))
    generation = Generation("id", "demo", "Some", "task", images, ("Odd.",), {"queue": 0.5, "run": 2.0})

    expected = "demo: Some made 2, 64x32, 40 steps, seed 7, 8, 2.5 s, 20 it/s, client 10.0.0.1, warning: Odd."
    assert expected == describe_generation(generation, "10.0.0.1")


def test_the_steps_of_all_stages_count() -> None:
    """Of a cascade, whose time is that of all stages; the parts of a workflow have steps that nobody counts."""

    def made(**metadata: object) -> Generation:
        image = Artifact("image", "image/png", b"", 7, {**METADATA, **metadata})
        return Generation("id", "demo", "Some", "task", (image,), timings={"run": 10.0})

    stages = [{"params": {"num_inference_steps": steps}} for steps in (20, 90)] + [{"params": {}}]
    assert "demo: Some made 1, 64x32, 110 steps, seed 7, 10.0 s, 11 it/s" == describe_generation(made(stages=stages))
    assert "11 it/s" == speed(made(stages=stages, workflow={"stages": [None, {"params": {}}]}))
    assert "" == speed(made(workflow={"hires": {"scale": 2}}))
    assert "2 it/s" == speed(made())


def test_a_result_without_steps_has_no_speed() -> None:
    """Such as one of an upscaler; slow ones have a decimal."""
    assert "" == speed(Generation("id", "a", "b", "c", (Artifact("text", "text/plain", b""),), timings={"run": 1.0}))
    assert "2.5 it/s" == speed(Generation("id", "a", "b", "c", (IMAGE,), timings={"run": 8.0}))
