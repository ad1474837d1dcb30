"""Words for what is wrong."""

from pathlib import Path

from octabox.config.problems import KeyPath, Location, Problem, file_problem, format_value, nearest_location


def test_a_problem_reads_like_a_compilers() -> None:
    """Editors jump to file:line:column."""
    problem = Problem(Path("a.yaml"), 3, 5, "x.y", "It is wrong.", "fix it", "warning")

    assert "a.yaml:3:5: warning: It is wrong. (fix it)" == str(problem)
    assert "a.yaml:1:1: error: It is wrong." == str(file_problem(Path("a.yaml"), "It is wrong."))


def test_a_value_without_a_place_has_that_of_what_is_around_it() -> None:
    """A missing key is shown at the mapping that lacks it."""
    locations: dict[KeyPath, Location] = {(): Location(1, 1), ("a",): Location(2, 1)}

    assert (Location(2, 1), Location(1, 1)) == (
        nearest_location(("a", "b", 0), locations),
        nearest_location(("c",), locations),
    )


def test_values_are_shown_as_in_the_file_and_cut_short() -> None:
    """Nobody reads a page of text in an error."""
    assert ["nothing", "true", "false", "1.5", "'a'"] == [
        format_value(value) for value in (None, True, False, 1.5, "a")
    ]
    assert 60 == len(format_value("a" * 1000))
