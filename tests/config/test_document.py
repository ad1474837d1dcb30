"""Reading YAML with places."""

from pathlib import Path
from typing import Any

import pytest

from octabox.config.document import MAX_BYTES, MAX_VALUES, Document, parse_document, read_document
from octabox.config.problems import Location


def parse(text: str) -> Document:
    """Parse a text as if it stood in a file."""
    return parse_document(text, Path("m.yaml"))


def test_every_value_has_its_place() -> None:
    """The location of a mapping's value is that of its key, an item's its own."""
    document = parse("a: 1\nb:\n  c: [x,\n    y]\n")

    assert {"a": 1, "b": {"c": ["x", "y"]}} == document.data
    assert Location(3, 3) == document.locations["b", "c"]
    assert Location(4, 5) == document.locations["b", "c", 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("true", True),
        ("~", None),
        ("", None),
        ("012", 12),
        ("0x1f", 31),
        ("-7", -7),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("16:9", "16:9"),
        ("2024-01-01", "2024-01-01"),
        ('"5"', "5"),
    ],
)
def test_plain_values_have_the_types_of_yaml_1_2(text: str, value: Any) -> None:
    """Words that older YAML takes for something else stay words."""
    data = parse(f"key: {text}").data

    assert {"key": value} == data
    assert type(value) is type(data["key"])


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: [1", 1, 6, "Not valid YAML"),
        ("a: 1\n\tb: 2", 2, 1, "Not valid YAML"),
        ("a: 1\n---\nb: 2", 2, 1, "Not valid YAML"),
        ("a: \x07", 1, 1, "Not valid YAML"),
        ("a: !!python/object:os.system x", 1, 4, "tag"),
        ("a: !!int x", 1, 4, "not a value of type int"),
        ("a: 1\nb: .nan", 2, 4, "finite"),
        ("a: 1\n[b]: 2", 2, 1, "A key must be text"),
        ("<<: 5", 1, 5, "must refer to a mapping"),
        ("a: &a [*a]", 1, 4, "nested too deeply"),
        (f"a: {'9' * 5000}", 1, 4, "too large for a number"),
        ("[" * 5000, 1, 1, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_a_problem(text: str, line: int, column: int, words: str) -> None:
    """Invalid YAML, tags and recursive aliases are reported with their location, and no error is raised."""
    document = parse(text)

    assert document.data is None
    assert [(line, column)] == [(problem.line, problem.column) for problem in document.problems]
    assert words in document.problems[0].message


def test_a_key_that_stands_twice_is_a_problem() -> None:
    """The first of the two holds, and the second is pointed at."""
    document = parse("a:\n  b: 1\n  b: 2\n")

    assert {"a": {"b": 1}} == document.data
    assert ["m.yaml:3:3: error: `a.b` is a duplicate key, first set in line 2. (remove one of them)"] == [
        str(problem) for problem in document.problems
    ]


def test_merged_mappings_are_weaker_than_what_stands_beside_them() -> None:
    """``<<`` merges keys; earlier mappings take precedence."""
    document = parse("one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nall:\n  <<: [*one, *two]\n  a: 0\n")

    assert {"a": 0, "b": 1, "c": 2} == document.data["all"]


def test_aliases_that_grow_without_end_are_refused() -> None:
    """Ten aliases of ten aliases, eight times over, are refused before they fill the memory."""
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))]

    document = parse("\n".join(lines))

    assert f"The file holds more than {MAX_VALUES} values." == document.problems[0].message


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """Weights that were named .yaml by mistake are not read."""
    file = tmp_path / "m.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))

    assert "larger than" in read_document(file).problems[0].message


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    """The line of the first invalid byte is reported."""
    file = tmp_path / "m.yaml"
    file.write_bytes("name: a\ndescription: Grün\n".encode("latin-1"))

    problem = read_document(file).problems[0]

    assert (2, "The file is not UTF-8 text.") == (problem.line, problem.message)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    """Windows editors put one before the text."""
    file = tmp_path / "m.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: a\n")

    assert {"name": "a"} == read_document(file).data


def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path: Path) -> None:
    """A folder is reported with the system's message."""
    folder = tmp_path / "m.yaml"
    folder.mkdir()

    assert "cannot be read" in read_document(folder).problems[0].message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("9" * 24_000, f"{'9' * 40}..."),
        (f"0x{'f' * 24_000}", f"0x{'f' * 38}..."),
        (f"-{'9' * 24_000}.5", f"-{'9' * 39}..."),
        ("18446744073709551616", "18446744073709551616"),
        ("1e999", "1e999"),
    ],
)
def test_numbers_that_are_too_large_are_named(text: str, shown: str) -> None:
    """Whatever their notation; Python cannot even print some of them."""
    (problem,) = parse_document(f"a: 1\nseed: {text}\n", Path("f")).problems

    assert (2, f"{shown} is too large for a number.") == (problem.line, problem.message)


def test_large_numbers_and_other_notations() -> None:
    """The largest seed, hexadecimal and octal numbers are numbers."""
    assert [2**64 - 1, 255, 8, -3] == parse_document("[18446744073709551615, 0xff, 0o10, -3]", Path("f")).data
