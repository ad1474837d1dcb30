"""Styles from JSON and from the CSV of the AUTOMATIC1111 web UI."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.errors import ConfigError, InvalidParameterError
from octabox.prompts.styles import Style, apply_style, load_styles, select_styles

CSV = """name,prompt,negative_prompt
ink,"{prompt}, ink drawing, ""bold"" lines","photo, blurry"
,nameless,
noir,film noir,
"""


def test_csv(tmp_path: Path) -> None:
    """Quotes, commas and empty fields are as in CSV; a row without a name is none."""
    file = tmp_path / "styles.csv"
    file.write_text(CSV, encoding="utf-8-sig")

    assert {
        "ink": Style("ink", '{prompt}, ink drawing, "bold" lines', "photo, blurry"),
        "noir": Style("noir", "film noir", ""),
    } == load_styles(file)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "ink", "prompt": "ink", "negative": "photo", "extra": ""}',
        '[{"name": "ink", "prompt": "ink", "negative_prompt": "photo"}]',
        '{"ink": {"prompt": "ink", "negative_prompt": "photo"}}',
    ],
)
def test_json(text: str, tmp_path: Path) -> None:
    """One style, a list, or styles by name, in a folder of files."""
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "one.json").write_text(text)
    (tmp_path / "readme.txt").write_text("no style")

    assert {"ink": Style("ink", "ink", "photo")} == load_styles(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sdnext.json",
            '{"name": "ink", "prompt": "ink", "extra": "steps: 20", "wildcards": "a=b", "preview": "x.jpg"}',
        ),
        ("other.csv", "name,text,extra,wildcards,preview\nink,ink,steps: 20,a=b,x.jpg\n"),
    ],
)
def test_other_fields(name: str, text: str, tmp_path: Path) -> None:
    """What a style sets is kept, what is not known is named, and what only tells of the style is neither."""
    (tmp_path / name).write_text(text)

    assert {"ink": Style("ink", "ink", extra="steps: 20", unused=("wildcards",))} == load_styles(tmp_path)


def test_no_styles(tmp_path: Path) -> None:
    """A place that is not there has none."""
    assert {} == load_styles(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "5", '[["a"]]', "\ud800"])
def test_a_file_that_is_wrong(text: str, tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "wrong.json").write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(ConfigError, match=r"wrong\.json"):
        load_styles(tmp_path)


def test_an_unknown_style() -> None:
    """The error names the nearest."""
    with pytest.raises(InvalidParameterError, match="no style 'inc'") as caught:
        select_styles(["inc"], {"ink": Style("ink")})

    assert ("styles", "Did you mean 'ink'?") == (caught.value.parameter, caught.value.hint)


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("a cat", ["{prompt}, in ink", "bold"], "a cat, in ink, bold"),
        ("a cat, ", ["bold"], "a cat, bold"),
        ("", ["bold"], "bold"),
        ("a cat", [""], "a cat"),
        ("{prompt}", ["x {prompt} y"], "x {prompt} y"),
    ],
)
def test_laying_over(text: str, pieces: list[str], expected: str) -> None:
    """The prompt goes where the style has a place for it, else before it."""
    assert expected == apply_style(text, pieces, "prompt")


def test_styles_do_not_make_a_prompt_of_any_length() -> None:
    """Styles that have the prompt twice double it each: what no model reads is refused before it fills the memory."""
    with pytest.raises(InvalidParameterError, match="'negative_prompt' has") as caught:
        apply_style("x" * 1000, ["{prompt} {prompt}"] * 40, "negative_prompt")

    assert "negative_prompt" == caught.value.parameter


def test_prompts_by_name(tmp_path: Path) -> None:
    """A JSON object may have the prompt of a style in place of its fields."""
    (tmp_path / "styles.json").write_text('{"cine": "cinematic {prompt}", "ink": {"prompt": "ink"}}')

    assert {"cine": Style("cine", "cinematic {prompt}"), "ink": Style("ink", "ink")} == load_styles(tmp_path)
