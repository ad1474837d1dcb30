"""The verb run with media: what it takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import makers
import spoilt
from makers.samples import content
from octabox.cli.errors import exit_code
from octabox.cli.main import cli
from octabox.errors import ForbiddenPathError, OctaboxError

#: Classes of the models: one for each kind of input and output.
SEER, MOVER, PLAYER, PAINTER = (
    "MarigoldDepthPipeline",
    "WanVideoToVideoPipeline",
    "StableAudioPipeline",
    "StableDiffusionInpaintPipeline",
)

#: Exit codes of wrong requests, and of places that cannot be written to.
WRONG, FORBIDDEN = 2, 8


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models."""
    folder = tmp_path_factory.mktemp("models")
    for name in (SEER, MOVER, PLAYER, PAINTER):
        with warnings.catch_warnings():
            # Warnings of diffusers about creating and saving pipelines do not matter here.
            warnings.simplefilter("ignore")
            makers.pipelines()[name].make().save_pretrained(str(folder / name))
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with files of every kind."""
    monkeypatch.chdir(tmp_path)
    files = {"a.png": content("image", 32, 32), "b.png": content("mask", 32, 32), "small.png": content("mask", 16, 16)}
    files |= {"video.mp4": content("video"), "tone.wav": content("audio"), "cut.mp4": spoilt.cut(content("video"))}
    files |= {"silent.wav": spoilt.wav(0), "text.png": b"text", "empty.png": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(cli, ["run", *arguments], standalone_mode=False)


BAD: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "a missing file": (SEER, ("-i", "image=nowhere.png"), WRONG, "'nowhere.png' cannot be read: No such file"),
    "a folder as a file": (SEER, ("-i", "image=folder"), WRONG, "'folder' cannot be read: Is a directory"),
    "no name": (SEER, ("-i", "a.png"), WRONG, "must be NAME=FILE"),
    "no file": (SEER, ("-i", "image="), WRONG, "must be NAME=FILE"),
    "nothing in the file": (SEER, ("-i", "image=empty.png"), WRONG, "is empty"),
    "text as an image": (SEER, ("-i", "image=text.png"), WRONG, "is not an image"),
    "an audio as an image": (SEER, ("-i", "image=tone.wav"), WRONG, "is not an image"),
    "a misspelt name": (SEER, ("-i", "imagee=a.png"), WRONG, "Did you mean image?"),
    "a file for a number": (PAINTER, ("-i", "strength=a.png"), WRONG, "'strength' takes no file"),
    "nothing at all": (SEER, (), WRONG, "needs image"),
    "a file that is a parameter too": (SEER, ("-i", "image=a.png", "-p", "image=x"), WRONG, "both a file and"),
    "an audio as a video": (MOVER, ("x", "-i", "video=tone.wav"), WRONG, "has no video"),
    "a cut video": (MOVER, ("x", "-i", "video=cut.mp4"), WRONG, "Send the complete file."),
    "two videos": (MOVER, ("x", "-i", "video=video.mp4", "-i", "video=video.mp4"), WRONG, "takes one video, not 2"),
    "a video as an audio": (PLAYER, ("x", "-i", "initial_audio_waveforms=video.mp4"), WRONG, "has no audio"),
    "a silent audio": (PLAYER, ("x", "-i", "initial_audio_waveforms=silent.wav"), WRONG, "empty audio track"),
    "an image as numbers": (PLAYER, ("x", "-i", "latents=a.png"), WRONG, "or not an .npy file"),
    "a small mask": (PAINTER, ("x", "-i", "image=a.png", "-i", "mask_image=small.png"), WRONG, "is 16x16, and its"),
    "an audio for a video's file": (MOVER, ("x", "-i", "video=video.mp4", "-o", "out.wav"), WRONG, "as 'wav'"),
    "an image for an audio's file": (PLAYER, ("x", "-o", "out.png"), WRONG, "as 'png'"),
    "a video for depth's file": (SEER, ("-i", "image=a.png", "-o", "out.mp4"), WRONG, "as 'mp4'"),
    "an unknown suffix": (PLAYER, ("x", "-o", "out.tiff"), WRONG, "as 'tiff'"),
    "a place that is not there": (PLAYER, ("x", "-o", "nowhere/out.wav"), FORBIDDEN, "nowhere"),
    "a place below a file": (PLAYER, ("x", "-o", "a.png/out/"), FORBIDDEN, "a.png"),
    "a place of the system's": (PLAYER, ("x", "-o", "/proc/out.wav"), FORBIDDEN, "/proc"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_misuse_is_one_sentence_and_leaves_nothing(models: Path, elsewhere: Path, name: str) -> None:
    """Each is reported with the exit code of its class, and no file is written."""
    model, arguments, code, words = BAD[name]
    before = sorted(elsewhere.rglob("*"))
    error = run(str(models / model), *arguments).exception

    assert isinstance(error, OctaboxError), error
    assert code == exit_code(error)
    assert words in str(error)
    assert before == sorted(elsewhere.rglob("*"))


def test_a_folder_without_rights_is_told_before_the_work(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps a file from being made there."""
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    error = run(str(models / PLAYER), "x", "-o", "folder/").exception

    assert isinstance(error, ForbiddenPathError), error
    assert "folder" in error.message


def refuse(**_: object) -> None:
    """Make no file."""
    raise PermissionError


def test_a_name_given_twice_is_a_list(models: Path) -> None:
    """Both files are read, in their order."""
    result = run(str(models / SEER), "-i", "image=a.png", "-i", "image=b.png", "--dry-run")
    assert result.exception is None

    assert ["32x32 RGB", "32x32 RGB"] == json.loads(result.output)["runs"][0]["inputs"]["image"]


def test_a_folder_takes_all_outputs(models: Path, elsewhere: Path) -> None:
    """Two images give two depth images and two arrays, each in a separate file."""
    steps = ("-p", "num_inference_steps=1", "--seed", "3")
    result = run(str(models / SEER), "-i", "image=a.png", "-i", "image=b.png", *steps, "-o", "out/")
    assert result.exception is None, result.exception
    files = sorted(path.suffix for path in (elsewhere / "out").iterdir())

    assert [".npy", ".npy", ".png", ".png"] == files
    assert all(path.name in result.output for path in (elsewhere / "out").iterdir())
