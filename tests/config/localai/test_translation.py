"""A configuration on its way from LocalAI's shape to ours."""

from pathlib import Path

from octabox.config.localai.translation import Translation
from octabox.config.problems import Location

PLACES = {(): Location(1, 1), ("step",): Location(2, 1), ("options", 1): Location(5, 3)}


def test_a_field_knows_where_it_comes_from() -> None:
    """What is wrong with our field is shown at LocalAI's key."""
    translation = Translation(Path("m.yaml"), {"step": 5}, PLACES)

    translation.put(("defaults", "num_inference_steps"), 5, "step")
    translation.put(("defaults", "strength"), 1, "options.1")

    assert {"defaults": {"num_inference_steps": 5, "strength": 1}} == translation.fields
    assert {
        (): Location(1, 1),
        ("defaults", "num_inference_steps"): Location(2, 1),
        ("defaults", "strength"): Location(5, 3),
    } == translation.field_locations()


def test_a_field_is_set_once() -> None:
    """The second key has no effect, and is reported."""
    translation = Translation(Path("m.yaml"), {"step": 5}, PLACES)

    translation.put(("seed",), 1, "options.1")
    translation.put(("seed",), 2, "step")

    assert (1, [2]) == (translation.fields["seed"], [problem.line for problem in translation.problems])


def test_a_digit_that_is_no_number_is_a_name() -> None:
    """A key may be any text, and a problem of it has the nearest location."""
    translation = Translation(Path("m.yaml"), {"options.²": 1}, PLACES)

    assert Location(1, 1) == translation.location("options.²")
    assert Location(5, 3) == translation.location("options.1")
