"""Parameters by the names of clients."""

from __future__ import annotations

from octabox.catalog.pipelines import load_catalog
from octabox.frontends.naming.parameters import ALIASES, call_parameters


def test_a_parameter_of_a_pipeline_is_no_short_name_of_another() -> None:
    """No class has a parameter that a client cannot set by its name; a class without it has the short name."""
    catalog, shadowed = load_catalog(), set()
    for entry in catalog.pipelines.values():
        for name in ALIASES:
            is_own = entry.parameter(name) is not None
            shadowed |= {(entry.name, name)} if is_own else set()
            expected = name if is_own else ALIASES[name]

            assert ({expected: 7}, {} if is_own else {expected: name}) == call_parameters({name: 7}, {}, entry)

    assert ("AudioDiffusionPipeline", "steps") in shadowed
    assert ({"num_inference_steps": 7}, {"num_inference_steps": "steps"}) == call_parameters({"steps": 7}, {})
