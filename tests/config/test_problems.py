"""Words for what is wrong."""

from pathlib import Path

from octabox.config.problems import KeyPath, Place, Problem, nearest_place, shown, whole_file


def test_a_problem_reads_like_a_compilers() -> None:
    """Editors jump to file:line:column."""
    problem = Problem(Path("a.yaml"), 3, 5, "x.y", "It is wrong.", "mend it", "warning")

    assert "a.yaml:3:5: warning: It is wrong. (mend it)" == str(problem)
    assert "a.yaml:1:1: error: It is wrong." == str(whole_file(Path("a.yaml"), "It is wrong."))


def test_a_value_without_a_place_has_that_of_what_is_around_it() -> None:
    """A missing key is shown at the mapping that lacks it."""
    places: dict[KeyPath, Place] = {(): Place(1, 1), ("a",): Place(2, 1)}

    assert (Place(2, 1), Place(1, 1)) == (nearest_place(("a", "b", 0), places), nearest_place(("c",), places))


def test_values_are_shown_as_in_the_file_and_cut_short() -> None:
    """Nobody reads a page of text in an error."""
    assert ["nothing", "true", "false", "1.5", "'a'"] == [shown(value) for value in (None, True, False, 1.5, "a")]
    assert 60 == len(shown("a" * 1000))
