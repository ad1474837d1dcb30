"""The verb run, with the embedded model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image, PngImagePlugin

from octabox import demo
from octabox.cli.errors import exit_code
from octabox.cli.main import cli
from octabox.cli.output import Destination
from octabox.cli.requests.events import Prepared, RunEvent
from octabox.cli.terminal.display import show_events
from octabox.errors import (
    ForbiddenPathError,
    GenerationError,
    ModelNotFoundError,
    OctaboxError,
    RequestError,
    UnknownParameterError,
)
from octabox.media.metadata.chunks import read_metadata
from octabox.types import Artifact, Generation, Progress

STEPS = ("-p", "num_inference_steps=3")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the verb with the embedded model and a short call."""
    return CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)


def failure(*arguments: str) -> OctaboxError:
    """Return the error that the verb ends with."""
    error = run(*arguments).exception
    assert isinstance(error, OctaboxError), error
    return error


def test_short_options_and_standard_input(elsewhere: Path) -> None:
    """Prompts come from standard input, parameters by their short names, and each result is a line of JSON."""
    words = [
        "run",
        "demo",
        "--prompt-file",
        "-",
        "--steps",
        "2",
        "--size",
        "64x64",
        "--cfg",
        "2",
        "--json",
        "-o",
        "a.png",
    ]
    result = CliRunner().invoke(cli, words, input="a red star\n# no prompt\na blue circle\n", standalone_mode=False)
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert 0 == result.exit_code, result.exception
    assert ["a-1.png", "a-2.png"] == [line["files"][0]["path"] for line in lines]
    with Image.open("a-1.png") as image:
        assert (64, 64) == image.size
    params = read_metadata((elsewhere / "a-2.png").read_bytes())["params"]
    assert ("a blue circle", 2, 2) == (params["prompt"], params["num_inference_steps"], params["guidance_scale"])


def test_an_image_goes_to_standard_output(elsewhere: Path) -> None:
    """It is all that is written there; notes go to standard error."""
    result = run("demo", "a red star", "--steps", "1", "--seed", "1", "-o", "-", "-p", "eta=0.5")

    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert "a red star" == read_metadata(result.stdout_bytes)["params"]["prompt"]
    assert [] == list(elsewhere.iterdir())


def test_an_image_is_written_with_what_made_it(elsewhere: Path) -> None:
    """The file is where it was asked for, and knows its prompt and its seed."""
    result = run("demo", "a red star", *STEPS, "--seed", "7", "-o", "star.png")
    facts = read_metadata((elsewhere / "star.png").read_bytes())

    assert 0 == result.exit_code, result.exception
    assert "star.png  (seed 7)" in result.output
    assert ("a red star", 7) == (facts["params"]["prompt"], facts["seed"])


def test_a_scheduler_goes_by_any_name_and_takes_settings(elsewhere: Path) -> None:
    """What the name means is in the image's metadata; settings go in as JSON."""
    named = run("demo", "a red star", *STEPS, "--scheduler", "DPM++ 2M Align Your Steps", "-o", "star.png")
    facts = read_metadata((elsewhere / "star.png").read_bytes())["scheduler"]
    asked = run("demo", "a red star", "--scheduler", '{"name": "unipc", "solver_order": 3}', "--dry-run")

    assert 0 == named.exit_code, named.exception
    assert ("DPMSolverMultistepScheduler", "align_your_steps") == (facts["name"], facts["schedule"])
    assert {"solver_order": 3} == json.loads(asked.output)["scheduler"]["settings"]
    assert "not valid JSON" in failure("demo", "a red star", "--scheduler", '{"name": ').message


def test_several_results_have_several_files(elsewhere: Path) -> None:
    """Each of several results has a separate file and seed; the suffix sets the format."""
    result = run("demo", "a red star", *STEPS, "-n", "2", "--seed", "1", "-o", "star.jpg")

    assert 0 == result.exit_code, result.exception
    assert [b"\xff\xd8\xff"] * 2 == [(elsewhere / f"star-{number}.jpg").read_bytes()[:3] for number in (1, 2)]


def test_without_a_place_no_file_is_overwritten(elsewhere: Path) -> None:
    """Where no place was given, every run writes a new file."""
    for _ in range(2):
        assert 0 == run("demo", "a red star", *STEPS, "--seed", "1").exit_code

    assert 2 == len(list(elsewhere.glob("*.png")))


def test_a_folder_is_a_model(elsewhere: Path) -> None:
    """A folder in diffusers' format needs no configuration; an image makes it image to image."""
    Image.new("RGB", (128, 128), "red").save("red.png")
    result = run(str(demo.FOLDER), "a blue star", *STEPS, "-i", "image=red.png", "--dry-run")
    call = json.loads(result.output)

    assert ("model", "image-to-image") == (call["model"], call["task"])
    assert ["128x128 RGB"] == call["runs"][0]["inputs"]["image"]


def test_a_dry_run_makes_nothing(elsewhere: Path) -> None:
    """A dry run prints the call that would be made, its drawn seed included, and writes no file."""
    call = json.loads(run("demo", "a red star", "--dry-run").output)

    assert "a red star" == call["runs"][0]["params"]["prompt"]
    assert isinstance(call["runs"][0]["seed"], int)
    assert [] == list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("nobody", "x"), ModelNotFoundError, "nobody"),
        (("demo", "x", "-p", "num_inference_stepz=3"), UnknownParameterError, "num_inference_stepz"),
        (("demo", "x", "-p", "num_inference_steps=many"), RequestError, "num_inference_steps"),
        (("demo", "x", "-p", "nothing"), RequestError, "NAME=VALUE"),
        (("demo", "x", "-i", "image=nowhere.png"), RequestError, "nowhere.png"),
        (("demo", "x", "-o", "nowhere/at/all.png"), ForbiddenPathError, "nowhere"),
        (("demo", "x", "-n", "0"), RequestError, "outputs"),
        (("demo", "x", "-p", "prompt=y"), RequestError, "'prompt' is given twice"),
        (("demo", "x", "--steps", "5000"), RequestError, "'steps' must be from 1"),
        (("demo", "x", "-o", "x.gif9"), RequestError, "gif9"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    elsewhere: Path, arguments: tuple[str, ...], kind: type[OctaboxError], words: str
) -> None:
    """A wrong request is a typed error that names the thing, with an exit code of its kind, and no file is left."""
    error = failure(*arguments)

    assert isinstance(error, kind)
    assert words in str(error)
    assert exit_code(error) > 1
    assert [] == list(elsewhere.iterdir())


def test_several_prompts_make_several_images(elsewhere: Path) -> None:
    """Prompts of the command line come first, then each line of a file; a file may have more than a request usually may."""
    (elsewhere / "prompts.txt").write_text("# colours\n" + "\n\n".join(f"a star {number}" for number in range(11)))
    call = json.loads(run("demo", "a red star", "a blue star", "--prompt-file", "prompts.txt", "--dry-run").output)

    assert ["a red star", "a blue star", "a star 0"] == [each["params"]["prompt"] for each in call["runs"][:3]]
    assert 13 == len({each["seed"] for each in call["runs"]})


@pytest.mark.parametrize("words", [("a", "large", "star"), ("star", "heart")])
def test_words_without_quotes_are_an_error(words: tuple[str, ...]) -> None:
    """They may be one prompt; the hint has the command with quotes, and how several short prompts are written."""
    error = failure("demo", *words)

    assert f"octabox run demo '{' '.join(words)}'" in error.hint
    assert "--prompt-file" in error.hint


def test_the_number_of_results_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a server, for each prompt; the settings may raise it."""
    error = failure("demo", "a star", "-n", "11")
    assert ("-n must be from 1 to 10 outputs, not 11.", True) == (error.message, "OCTABOX_MAX_OUTPUTS" in error.hint)

    assert 20 == len(json.loads(run("demo", "a star", "a heart", "-n", "10", "--dry-run").output)["runs"])
    monkeypatch.setenv("OCTABOX_MAX_OUTPUTS", "11")
    assert 11 == len(json.loads(run("demo", "a star", "-n", "11", "--dry-run").output)["runs"])


def test_a_negative_seed_is_random() -> None:
    """As over HTTP: -1 alone."""
    seeds = {json.loads(run("demo", "a star", "--seed", "-1", "--dry-run").output)["runs"][0]["seed"] for _ in range(2)}

    assert 2 == len(seeds)
    assert "'seed' must be from 0" in str(failure("demo", "a star", "--seed", "-2"))


async def interrupted_events() -> AsyncGenerator[RunEvent, None]:
    """Yield the events of a request that ends after the first of three results."""
    yield Prepared(3)
    yield Progress("running", 1, 2)
    yield Generation("id", "demo", "", "", (Artifact("image", "image/png", b"1", 5),), warnings=("Odd.",))
    raise GenerationError("It failed.")


async def test_results_are_written_as_they_are_made(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes after them may fail or be interrupted."""
    with pytest.raises(GenerationError, match="It failed"):
        await show_events(interrupted_events(), Destination("star.png"))

    assert ["star-1.png"] == [path.name for path in elsewhere.iterdir()]
    written = capsys.readouterr()
    assert ("star-1.png  (seed 5)\n", True) == (written.out, "Warning: Odd." in written.err)


async def test_events_are_read_to_their_end(elsewhere: Path) -> None:
    """A server in the background would take an early end for a client that has left."""
    ends: list[bool] = []

    async def events(count: int, description: dict[str, str] | None = None) -> AsyncGenerator[RunEvent, None]:
        yield Prepared(count, description=description)
        for number in range(0 if description else count):
            yield Generation("id", "demo", "", "", (Artifact("image", "image/png", b"1", number),))
        ends.append(True)

    await show_events(events(1), Destination("star.png"))
    await show_events(events(2), Destination("heart.png"))
    await show_events(events(1, {"model": "demo"}), Destination("dry.png"))

    assert [True, True, True] == ends


def test_wildcards_and_styles_of_the_folder(elsewhere: Path) -> None:
    """They are read from the working directory, and the metadata have the original and the final prompt."""
    (elsewhere / "wildcards").mkdir()
    (elsewhere / "wildcards" / "shape.txt").write_text("star\n")
    (elsewhere / "styles").mkdir()
    (elsewhere / "styles" / "dark.json").write_text('{"prompt": "{prompt} on a black background"}')
    given = ("demo", "a (red:1.2) __shape__", *STEPS, "--prompt-syntax", "a1111", "--style", "dark", "-o", "a.png")
    assert 0 == run(*given).exit_code
    facts = read_metadata((elsewhere / "a.png").read_bytes())

    assert "a (red:1.2) star on a black background" == facts["params"]["prompt"]
    assert {"prompt": "a (red:1.2) __shape__"} == facts["written"]
    assert "a1111" == facts["prompt_syntax"]


@pytest.mark.parametrize(
    "given",
    [
        ("a red star", "-p", "clip_skip=1"),
        ("a {red|blue} [star]", "-p", "negative_prompt=a (green:1.2) circle", "--prompt-syntax", "a1111"),
        ("a red++ star", "--prompt-syntax", "compel", "--scheduler", "EulerDiscreteScheduler"),
        ("a red star", "--scheduler", "DPM++ 2M Karras"),
    ],
)
# The scheduler reads a tensor in a way that numpy announces the end of.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_an_image_is_made_again(elsewhere: Path, given: tuple[str, ...]) -> None:
    """From nothing but the image, the same bytes."""
    assert 0 == run("demo", *given, *STEPS, "--seed", "3", "-o", "one.png").exit_code
    again = run("--from", "one.png", "-o", "two.png")

    assert 0 == again.exit_code, again.exception
    assert (elsewhere / "one.png").read_bytes() == (elsewhere / "two.png").read_bytes()


def test_an_image_is_made_again_with_changes(elsewhere: Path) -> None:
    """Options take precedence over the metadata."""
    run("demo", "a red star", *STEPS, "--seed", "3", "-o", "one.png")
    call = json.loads(run("--from", "one.png", "demo", "a blue star", "--seed", "4", "--dry-run").output)

    assert ("a blue star", 4, 3) == (
        call["runs"][0]["params"]["prompt"],
        call["runs"][0]["seed"],
        call["runs"][0]["params"]["num_inference_steps"],
    )


def test_what_a_style_sets_and_what_is_plain(elsewhere: Path) -> None:
    """A style of SD.Next sets the steps; what of it, or of a plain prompt, has no effect is a warning."""
    (elsewhere / "styles").mkdir()
    (elsewhere / "styles" / "quick.json").write_text(
        '{"name": "quick", "prompt": "ink", "extra": "steps: 2, seed: 5, hires: yes"}'
    )
    made = run("demo", "a (red:1.3) star", "--style", "quick", "-o", "one.png")
    facts = read_metadata(Path("one.png").read_bytes())

    assert (2, 5, "a (red:1.3) star, ink") == (
        facts["params"]["num_inference_steps"],
        facts["seed"],
        facts["params"]["prompt"],
    )
    assert "Warning: 'hires: yes' in the style 'quick' has no effect." in made.output
    assert "Warning: '(red:1.3)' has no weight in 'prompt', which is plain." in made.output


def test_an_image_that_was_made_from_one(elsewhere: Path) -> None:
    """Made again from the same image, in whatever file, it is the same; another one is a warning, and none an error."""
    Image.new("RGB", (64, 64), "blue").save("blue.png")
    Image.new("RGB", (64, 64), "blue").save("same.webp", lossless=True)
    Image.new("RGB", (64, 64), "red").save("red.png")
    run("demo", "a red star", *STEPS, "--seed", "3", "-i", "image=blue.png", "-o", "one.png")
    again = run("--from", "one.png", "-i", "image=same.webp", "-o", "two.png")
    other = run("--from", "one.png", "-i", "image=red.png", "--dry-run")

    assert (64, 64) == tuple(
        read_metadata(Path("one.png").read_bytes())["inputs"]["image"][0][side] for side in ("width", "height")
    )
    assert (0, False) == (again.exit_code, "Warning" in again.output)
    assert (elsewhere / "one.png").read_bytes() == (elsewhere / "two.png").read_bytes()
    assert "Warning: 'image' differs from the original input: that was an image of 64x64" in other.output
    missing = failure("--from", "one.png")
    assert "The input 'image' is missing, which the file was made from: an image of 64x64 (SHA-256" in str(missing)
    assert "-i image=FILE" in str(missing)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "__nothing__", "--prompt-syntax", "a1111"), "no wildcard 'nothing'"),
        (("demo", "x", "--style", "ink"), "no style 'ink'"),
        (("demo", "x", "--prompt-syntax", "a111"), "no prompt syntax 'a111'"),
        (("demo", "--prompt-file", "nowhere.txt"), "nowhere.txt"),
        (("--from", "nowhere.png"), "nowhere.png"),
        ((), "The model is missing"),
    ],
)
def test_prompts_that_cannot_be(elsewhere: Path, arguments: tuple[str, ...], words: str) -> None:
    """Each is a typed error that names the thing."""
    assert words in str(failure(*arguments))


def test_an_image_of_the_web_ui(elsewhere: Path) -> None:
    """What it was made from is read by the web UI's syntax; the model has to be given."""
    text = "a (red:1.2) star\nNegative prompt: blue\nSteps: 4, Sampler: Euler, CFG scale: 3, Seed: 0, Size: 64x64, Model: sd"
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save("theirs.png", pnginfo=chunks)
    call = json.loads(run("--from", "theirs.png", "demo", "--dry-run", "--scheduler", "euler").output)

    assert "The model is missing. The file was made with 'sd' by another program." in str(
        failure("--from", "theirs.png")
    )
    assert 0 == call["runs"][0]["seed"]
    assert {
        "prompt": "a (red:1.2) star",
        "negative_prompt": "blue",
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "width": 64,
        "height": 64,
    } == call["runs"][0]["params"]
