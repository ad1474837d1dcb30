"""The commands of the prompt line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from octabox.cli import run
from octabox.cli.requests.workflows import LISTS, STEPS
from octabox.cli.terminal import prompt_line
from octabox.cli.terminal.prompt_line import PromptLine
from octabox.errors import InvalidParameterError, MediaError, UnknownParameterError

OPTIONS = {"model": None, "params": (), "loras": (), "seed": None, "num_outputs": 1, "out": None}


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    """Return the options of all requests."""
    return []


@pytest.fixture
def line(runs: list[dict[str, Any]]) -> PromptLine:
    """Return a prompt line that records its requests."""
    return PromptLine(OPTIONS, lambda **options: runs.append(options), run.command.params)


def test_lines_that_are_not_commands_are_prompts(line: PromptLine, runs: list[dict[str, Any]]) -> None:
    """With the model and the settings of the commands before them; empty lines do nothing."""
    for text in (
        "a star",
        "",
        "/model tiny",
        "/set steps 4",
        "/set cfg=2",
        "/set steps 5",
        "/lora dark:0.5",
        "/seed 7",
    ):
        assert line.handle(text)
    assert line.handle("/set count 2")
    assert line.handle("a heart")

    first, second = runs
    assert ("demo", ("a star",), ()) == (first["model"], first["prompts"], first["params"])
    assert ("tiny", ("a heart",), ("cfg=2", "steps=5")) == (second["model"], second["prompts"], second["params"])
    assert (("dark:0.5",), 7, 2) == (second["loras"], second["seed"], second["num_outputs"])


def test_settings_are_removed(line: PromptLine, runs: list[dict[str, Any]]) -> None:
    """By the command without a value."""
    for text in ("/set steps 4", "/set steps", "/lora a", "/lora", "/seed 3", "/seed", "/run"):
        line.handle(text)

    assert ((), (), None, ()) == tuple(runs[0][name] for name in ("params", "loras", "seed", "prompts"))


def test_options_of_the_command_line_are_replaced(runs: list[dict[str, Any]]) -> None:
    """By any name of their parameter, since two values would be an error."""
    given = OPTIONS | {"steps": "2", "cfg": "3"}
    line = PromptLine(given, lambda **options: runs.append(options), run.command.params)
    for text in ("/set num_inference_steps 900", "a star"):
        line.handle(text)

    assert (None, ("cfg=3", "num_inference_steps=900")) == (runs[0]["steps"], runs[0]["params"])


def test_the_program_ends_with_bye(line: PromptLine, capsys: pytest.CaptureFixture[str]) -> None:
    """And help shows all commands."""
    line.handle("/help")
    shown = capsys.readouterr().out

    assert not line.handle("/bye")
    assert all(name in shown for name in PromptLine.commands())


def test_a_mistake_is_an_error(line: PromptLine) -> None:
    """An unknown command shows the others, and a number must be one."""
    with pytest.raises(UnknownParameterError, match=r"no command '/mdl'.*/model"):
        line.handle("/mdl x")
    for text in ("x", "--5", "²", "1.5"):
        with pytest.raises(InvalidParameterError, match=f"'seed' must be a whole number, not '{text}'"):
            line.handle(f"/seed {text}")
    with pytest.raises(InvalidParameterError, match="no closing quotation"):
        line.handle("/lora it's")
    with pytest.raises(InvalidParameterError, match="'num_outputs' must be a whole number, not 'x'"):
        line.handle("/set count x")
    assert (None, (), 1) == tuple(line.options[name] for name in ("seed", "loras", "num_outputs"))


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("/set negative score=4, a=b", "negative=score=4, a=b"),
        ("/set negative=a=b c", "negative=a=b c"),
        ("/set negative = a  b", "negative=a  b"),
        ("/set  negative\ta", "negative=a"),
    ],
)
def test_a_value_may_have_equals_signs(line: PromptLine, text: str, param: str) -> None:
    """Only the first separator after the name is one."""
    line.handle(text)

    assert (param,) == line.options["params"]


def test_inputs_are_files(line: PromptLine, runs: list[dict[str, Any]], tmp_path: Path) -> None:
    """By their option, by their parameter, or any other; a missing one is an error before it is kept."""
    file = tmp_path / "a b=c.png"
    file.write_bytes(b"x")
    for text in (f"/set image {file}", f"/input mask {file}", f"/input control_image {file}", f"/input video={file}"):
        line.handle(text)
    line.handle("/input video")
    line.handle("a star")

    assert ((), (f"image={file}", f"mask_image={file}", f"control_image={file}")) == (
        runs[0]["params"],
        runs[0]["inputs"],
    )
    with pytest.raises(MediaError, match=r"'nowhere\.png' cannot be read"):
        line.handle("/set image nowhere.png")
    assert 3 == len(line.options["inputs"])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("seed 5", "seed", 5),
        ("seed=-1", "seed", -1),
        ("n 2", "num_outputs", 2),
        ("num-outputs 2", "num_outputs", 2),
        ("sampler unipc", "scheduler", "unipc"),
        ("fps 8", "fps", 8.0),
        ("lora a:0.5 'b c'", "loras", ("a:0.5", "b c")),
        ("style ink", "styles", ("ink",)),
        ("hires scale=2", "hires", "scale=2"),
        ("prompt-syntax compel", "prompt_syntax", "compel"),
        ("o x.png", "out", "x.png"),
    ],
)
def test_each_option_of_the_command_line_can_be_set(
    line: PromptLine, runs: list[dict[str, Any]], text: str, name: str, value: object
) -> None:
    """By all of its names; without a value it is the default again, and none becomes a call parameter, which models refuse."""
    before = line.options.get(name)
    for each in (f"/set {text}", "a star", f"/set {re.split('[ =]', text)[0]}", "a heart"):
        line.handle(each)

    assert [(value, ()), (before or (() if isinstance(value, tuple) else None), ())] == [
        (each[name], each["params"]) for each in runs
    ]


def test_an_option_that_has_no_effect_here_is_an_error(line: PromptLine) -> None:
    """Whatever the command line has is either set, or named as what the program is started with; nothing is kept."""
    before = dict(line.options)
    options = [each for each in run.command.params if isinstance(each, click.Option)]
    flags = [each for each in options if each.is_flag or each.name in prompt_line.FIXED]
    for option in flags:
        for name in option.opts:
            with pytest.raises(InvalidParameterError, match="cannot be set in the prompt line") as caught:
                line.handle(f"/set {name.lstrip('-')} x")
            assert option.opts[-1] in caught.value.hint
    for text in (
        "/seed 99999999999999999999",
        "/set seed -2",
        "/set n x",
        "/set fps fast",
        *(f"/set {name} a=1,a=2" for name in (*STEPS, *LISTS)),
    ):
        with pytest.raises(InvalidParameterError):
            line.handle(text)

    assert {"as_json", "local"} <= {each.name for each in flags}
    assert before == line.options


@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', "{escaped}", "~/{name}", "'~/{name}'", "~/{quoted}"])
def test_paths_are_written_as_in_a_shell(
    line: PromptLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    """With quotation marks or backslashes, as terminals write a file that is dropped on them, and with the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "it's a b.png"
    file.write_bytes(b"x")
    plain = tmp_path / "a b.png"
    plain.write_bytes(b"x")
    for each in (file, plain):
        if "'" in form and "'" in str(each):
            continue
        written = form.format(
            each,
            escaped=shlex.join([str(each)]),
            name=each.name,
            quoted=each.name.replace(" ", "\\ ").replace("'", "\\'"),
        )
        for command in ("/input image", "/model", "/set out"):
            line.handle(f"{command} {written}")

        assert (f"image={each}",) == line.options["inputs"]
        assert [str(each)] * 2 == [line.options["model"], line.options["out"]]


def test_a_history_that_cannot_be_read_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prompts are read all the same, with a warning at the start; what cannot be added later is left out."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "octabox" / "history").mkdir(parents=True)
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        for _ in range(2):
            typed.send_text("a star\n")
            assert "a star" == prompt_line._session().prompt("> ")
    assert f"the history of prompts is not kept: {tmp_path}/octabox/history: Is a directory" in capsys.readouterr().err

    (tmp_path / "octabox" / "history").rmdir()
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        history = prompt_line._session().history
    (tmp_path / "octabox" / "history").unlink()
    (tmp_path / "octabox" / "history").mkdir()
    history.store_string("a heart")
