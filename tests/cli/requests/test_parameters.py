"""Options for call parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from octabox.catalog.pipelines import load_catalog
from octabox.cli import run
from octabox.cli.main import cli
from octabox.cli.requests.parameters import (
    SHORT_OPTIONS,
    parameter_options,
    parse_parameters,
    pop_parameters,
    read_inputs,
)
from octabox.errors import InvalidParameterError, MediaError
from octabox.frontends.naming.parameters import ALIASES, REQUEST_ALIASES

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def popped(*words: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what a command finds in these words."""
    found: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]] = []

    @click.command()
    @parameter_options
    def command(**options: Any) -> None:
        found.append(pop_parameters(options))
        assert {} == options

    CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=False)
    (both,) = found
    return both


def parsed(*words: str, properties: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the call parameters of these words."""
    return parse_parameters(popped(*words)[0], properties or {})[0]


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["--steps", "4"], {"num_inference_steps": 4}),
        (["-p", "steps=4"], {"num_inference_steps": 4}),
        (["-p", "num_inference_steps=4"], {"num_inference_steps": 4}),
        (["--cfg", "3.5"], {"guidance_scale": 3.5}),
        (["--negative", "rain"], {"negative_prompt": "rain"}),
        (["--strength", "0.4"], {"strength": 0.4}),
        (["--size", "512x768"], {"width": 512, "height": 768}),
        (["-p", "size=512x768"], {"width": 512, "height": 768}),
        (["--width", "64", "--height", "32"], {"width": 64, "height": 32}),
        (["-p", "a=b=c", "-p", "empty="], {"a": "b=c", "empty": ""}),
    ],
)
def test_short_names_are_parameters_of_diffusers(words: list[str], params: dict[str, Any]) -> None:
    """An option and a pair of the same name are the same parameter."""
    assert params == parsed(*words)


def test_text_that_looks_like_a_number_is_text_where_text_is_taken() -> None:
    """The schema decides, of the alias's parameter too."""
    assert {"negative_prompt": "3"} == parsed("--negative", "3", properties={"negative_prompt": TEXT})
    assert {"guidance_scale": 3} == parsed("--cfg", "3", properties={"guidance_scale": NUMBER})


def test_a_parameter_of_the_pipeline_comes_before_an_alias() -> None:
    """A class with a parameter of that name gets it as it is."""
    assert {"steps": 4} == parsed("--steps", "4", properties={"steps": NUMBER})
    assert {"size": "large"} == parsed("-p", "size=large", properties={"size": TEXT})


def test_names_that_differ_are_known() -> None:
    """Warnings can use the words of the command line."""
    texts, _ = popped("--steps", "4", "-p", "eta=1", "--size", "64x64")

    assert {"num_inference_steps": "steps", "width": "size", "height": "size"} == parse_parameters(texts, {})[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "4", "-p", "num_inference_steps=5"], "'num_inference_steps' and 'steps' are the same parameter"),
        (["-p", "eta=1", "-p", "eta=0"], "'eta' has two values"),
        (["--size", "64x64", "--width", "64"], "'size' and 'width' set the same value"),
        (["--size", "large"], "'size' must be a size, not 'large'"),
        (["-p", "eta"], "A parameter must be NAME=VALUE, not 'eta'"),
        (["-p", "=1"], "A parameter must be NAME=VALUE, not '=1'"),
        (["-i", "image="], "An input must be NAME=FILE, not 'image='"),
    ],
)
def test_what_has_no_clear_value_is_an_error(words: list[str], message: str) -> None:
    """Nothing is dropped for something else."""
    with pytest.raises(InvalidParameterError, match=message):
        parsed(*words)


def test_files_are_inputs(tmp_path: Path) -> None:
    """Options for files and pairs are the same inputs, and a repeated name is a list."""
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    _, texts = popped("-i", f"image={tmp_path}/a.png", "--image", f"{tmp_path}/b.png", "--mask", "https://host/m.png")

    assert {"image": (b"a", b"b"), "mask_image": ("https://host/m.png",)} == read_inputs(texts)
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        read_inputs([("image", f"{tmp_path}/c.png")])


def test_options_are_names_that_http_knows() -> None:
    """Each is an alias of the HTTP APIs or a parameter of diffusers itself; sizes have a field of their own there."""
    parameters = {each.name for entry in load_catalog().pipelines.values() for each in entry.parameters}

    assert set(SHORT_OPTIONS) <= {*ALIASES, *parameters, "size"}


@pytest.mark.parametrize(("alias", "name"), REQUEST_ALIASES.items())
def test_options_of_a_request_have_the_names_of_http(alias: str, name: str) -> None:
    """A short name of a field is an option with the same meaning."""
    (option,) = (each for each in run.command.params if f"--{alias}" in each.opts)

    assert (name, True) == (option.name, f"--{name.replace('_', '-')}" in option.opts)


def test_a_medium_that_is_set_as_a_text_has_a_hint() -> None:
    """It names the option for files, since the text is neither a URL nor base64."""
    error = (
        CliRunner().invoke(cli, ["run", "demo", "a star", "-p", "image=photo.png", "--dry-run", "--local"]).exception
    )

    assert isinstance(error, MediaError), error
    assert "-i image=FILE" in error.hint
    assert "/input image FILE" in error.hint
