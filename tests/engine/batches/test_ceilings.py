"""What the server keeps of batches that have failed."""

from __future__ import annotations

from dataclasses import replace

from fake_worker import PIPELINE, call
from octabox.engine.batches.ceilings import Ceilings
from octabox.engine.batches.keys import MAX_MEMBERS, MAX_SIZES
from octabox.engine.protocol import Run

SIZE = f"{PIPELINE} 64x64"
CALL = replace(call(), runs=(Run({"prompt": "a star", "width": 64, "height": 64}),))


def test_a_failed_size_is_halved() -> None:
    """By each failure, whoever reports it; it never rises."""
    ceilings = Ceilings()
    ceilings.of("model")
    ceilings.halve(CALL, MAX_MEMBERS)
    assert {SIZE: MAX_MEMBERS // 2} == ceilings.of("model")
    ceilings.merge({SIZE: 2})
    ceilings.halve(CALL, MAX_MEMBERS)
    assert {SIZE: 2} == ceilings.of("model")
    ceilings.halve(CALL, 1)

    assert {SIZE: 1} == ceilings.of("model")


def test_another_model_has_its_own_sizes() -> None:
    """What is known of the one before is forgotten."""
    ceilings = Ceilings()
    ceilings.of("model")
    ceilings.halve(CALL, 4)

    assert {} == ceilings.of("other") == ceilings.of("model")


def test_the_last_failures_are_kept() -> None:
    """Not more than the worker knows of."""
    ceilings = Ceilings()
    for number in range(2 * MAX_SIZES):
        ceilings.merge({f"size {number}": 1})

    assert MAX_SIZES == len(ceilings.of(None))
    assert f"size {2 * MAX_SIZES - 1}" in ceilings.of(None)
