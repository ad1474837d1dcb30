"""The options of `octabox run` for workflows, with the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from octabox.cli.main import cli
from octabox.cli.requests.workflows import LISTS, pop_workflow
from octabox.cli.requests.workflows import STEPS as WORKFLOW_STEPS
from octabox.errors import InvalidParameterError, OctaboxError
from octabox.media.images import encode, read_size
from octabox.media.metadata.chunks import read_metadata
from octabox.service.workflows.settings import Workflow
from octabox.types import OutputFormat
from upscalers import nearest, save

STEPS = ("-p", "num_inference_steps=3")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)


def given(**texts: str) -> dict[str, Any]:
    """Return what these options mean."""
    return pop_workflow({name: texts.get(name) for name in (*WORKFLOW_STEPS, *LISTS)})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2", 2),
        ("1.5", 1.5),
        ("", {}),
        ("scale=2", {"scale": 2}),
        ("scale=1.5, upscaler=latent,steps=4", {"scale": 1.5, "upscaler": "latent", "steps": 4}),
        ("upscaler=a=b", {"upscaler": "a=b"}),
        ('{"scale": 2, "params": {"prompt": "a, b"}}', {"scale": 2, "params": {"prompt": "a, b"}}),
    ],
)
def test_a_part_is_a_number_or_pairs_or_json(text: str, part: Any) -> None:
    """All three mean what the native API takes."""
    assert {"hires": part} == given(hires=text)


@pytest.mark.parametrize("text", ["twice", "scale=2,twice", "=2", "[1]", '"x"'])
def test_anything_else_is_refused(text: str) -> None:
    """The error shows how it is written."""
    with pytest.raises(InvalidParameterError, match="--hires SCALE"):
        given(hires=text)


def test_each_part_has_an_option() -> None:
    """None of them is forgotten here."""
    assert set(Workflow.model_fields) == {*WORKFLOW_STEPS, *LISTS}


def test_the_stages_of_a_cascade_are_a_list() -> None:
    """Each has its settings or none; what is no list names the option."""
    assert {"stages": [None, {"params": {"eta": 1}}]} == given(stages='[null, {"params": {"eta": 1}}]')
    with pytest.raises(InvalidParameterError, match="'stages' must be a list"):
        given(stages="2")


def test_stages_of_a_file_are_those_of_a_cascade(elsewhere: Path) -> None:
    """Another model has none; stages of the command line replace those of the file."""
    metadata = {
        "model": "steps",
        "pipeline": "StableDiffusionPipeline",
        "workflow": {"stages": [None, {"params": {"strength": 0.5}}]},
        "params": {"prompt": "a"},
    }
    file = encode(Image.new("RGB", (8, 8)), OutputFormat("png"), metadata)[0]
    (elsewhere / "a.png").write_bytes(file)
    (elsewhere / "steps.yaml").write_text("stages: [demo, demo]\n", encoding="utf-8")
    given = ("--models", ".", "--from", "a.png", "--dry-run")
    again, single = json.loads(run(*given).output), run("demo", *given)
    other = json.loads(single.stdout)
    replaced = json.loads(run(*given, "--stages", "[null, null]").output)

    assert metadata["workflow"] == again["workflow"]
    assert "workflow" not in other
    assert "the settings of stages in the file have no effect: 'demo' is not a cascade" in single.stderr
    assert {"stages": [None, None]} == replaced["workflow"]


@pytest.mark.slow
def test_an_image_of_a_workflow_is_made_again(elsewhere: Path) -> None:
    """It is larger, and its metadata reproduce it."""
    first = run("demo", "a red star", *STEPS, "--hires", "1.5", "--upscale", "2", "--variation", "0.2", "-o", "a.png")
    again = run("--from", "a.png", "-o", "b.png")
    larger = run("--from", "a.png", "--upscale", "scale=3,upscaler=nearest", "-o", "c.png")
    facts = read_metadata((elsewhere / "a.png").read_bytes())

    assert [0, 0, 0] == [each.exit_code for each in (first, again, larger)], (first.exception, again.exception)
    assert {"hires", "upscale"} == set(facts["workflow"])
    assert (elsewhere / "a.png").read_bytes() == (elsewhere / "b.png").read_bytes()
    assert [(384, 384), (576, 576)] == [read_size((elsewhere / name).read_bytes()) for name in ("a.png", "c.png")]


def test_a_dry_run_tells_the_first_call_and_the_workflow() -> None:
    """What would be called first, and what would follow."""
    dry_run = json.loads(run("demo", "a red star", "--hires", "2", "--dry-run").output)

    assert ("text-to-image", {"hires": 2}) == (dry_run["task"], dry_run["workflow"])


def test_a_network_is_named_by_its_file(elsewhere: Path) -> None:
    """It need not be in the models folder, and a setting that it does not have is an error."""
    save(nearest(2), elsewhere / "twice.pth")
    made = run("demo", "a red star", *STEPS, "--upscale", "upscaler=./twice.pth", "-o", "large.png")
    again = run("--from", "large.png", "-o", "again.png")
    wrong = run("demo", "a red star", "--upscale", '{"upscaler": "twice.pth", "params": {"tiles": 8}}').exception

    assert [0, 0] == [made.exit_code, again.exit_code], (made.exception, again.exception)
    assert (256, 256) == read_size((elsewhere / "large.png").read_bytes())
    assert (elsewhere / "large.png").read_bytes() == (elsewhere / "again.png").read_bytes()
    assert isinstance(wrong, OctaboxError)
    assert "tiles" == wrong.parameter


@pytest.mark.slow
def test_an_image_is_continued(elsewhere: Path) -> None:
    """The image goes in by its parameter, and comes out wider; made again it is the same."""
    run("demo", "a red star", *STEPS, "-o", "small.png")
    image = ("-i", "image=small.png")
    made = run("demo", "a red star", *STEPS, *image, "--outpaint", "left=32", "-o", "wide.png")
    again = run("--from", "wide.png", *image, "-o", "again.png")
    missing = run("--from", "wide.png", "-o", "never.png").exception
    other = run("--from", "wide.png", "-i", "image=wide.png", "-o", "wider.png")

    assert [0, 0] == [made.exit_code, again.exit_code], (made.exception, again.exception)
    assert (160, 128) == read_size((elsewhere / "wide.png").read_bytes())
    assert (elsewhere / "wide.png").read_bytes() == (elsewhere / "again.png").read_bytes()
    assert "Warning" not in again.output
    assert isinstance(missing, OctaboxError)
    assert ("image", True) == (missing.parameter, "an image of 128x128" in missing.message)
    assert "'image' differs from the original input" in other.output


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        (("--hires", "scale=none"), "workflow.hires.scale"),
        (("--upscale", "upscaler=nobody"), "workflow.upscale.upscaler"),
        (("--outpaint", "8"), "image"),
        (("--inpaint", "pad=8"), "workflow.inpaint.pad"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(
    elsewhere: Path, arguments: tuple[str, ...], parameter: str
) -> None:
    """Nothing is written."""
    error = run("demo", "a red star", *arguments).exception

    assert isinstance(error, OctaboxError)
    assert parameter == error.parameter
    assert [] == list(elsewhere.iterdir())


@pytest.mark.parametrize("name", WORKFLOW_STEPS)
@pytest.mark.parametrize("text", ["scale=2,scale=3", "a=1, b=2, a =1"])
def test_a_value_is_set_once(name: str, text: str) -> None:
    """Two values of one setting are an error, as those of a call parameter."""
    with pytest.raises(InvalidParameterError, match=f"'{name}' has two values of '(scale|a)'"):
        given(**{name: text})
