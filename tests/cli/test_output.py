"""Where results are written, and what the terminal shows meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octabox.cli import output
from octabox.cli.output import Destination, describe_result, show_status
from octabox.cli.terminal.display import show_progress
from octabox.errors import ForbiddenPathError, GenerationError, InvalidParameterError
from octabox.types import Artifact, Event, Generation, Progress


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*media_types: str, model: str = "some/thing", seed: int | None = 7) -> Generation:
    """Return a generation with an artifact of each media type, whose content is its number."""
    artifacts = (
        Artifact("image", media_type, str(number).encode(), seed) for number, media_type in enumerate(media_types, 1)
    )
    return Generation("id", model, "Thing", "task", tuple(artifacts))


def written(out: str | None, *media_types: str) -> list[str]:
    """Return the paths of artifacts that are written to a place, and make sure that each has its own content."""
    destination = Destination(out)
    destination.check()
    paths = destination.write(made(*media_types))
    assert [str(number).encode() for number, _ in enumerate(media_types, 1)] == [path.read_bytes() for path in paths]
    return [path.as_posix() for path in paths]


@pytest.mark.parametrize(
    ("out", "name"),
    [
        (None, None),
        ("thing", None),
        ("thing.png", "png"),
        ("thing.JPG", "jpeg"),
        ("a.b/thing.mp4", "mp4"),
        ("thing.v2.wav", "wav"),
        ("thing.txt", "txt"),
        ("thing.npz", "npz"),
        ("thing.gif9", "gif9"),
        ("folder/", None),
        ("folder.png/", None),
    ],
)
def test_the_suffix_decides_the_format(out: str | None, name: str | None) -> None:
    """A suffix that is no format's is kept, so that the error can name it; a folder leaves the format open."""
    assert name == Destination(out).format.format


def test_a_folder_that_is_there_needs_no_slash(elsewhere: Path) -> None:
    """Its name may even look like that of a file."""
    (elsewhere / "out.png").mkdir()

    assert Destination("out.png").format.format is None
    assert ["out.png/some-thing-7.png"] == written("out.png", "image/png")


@pytest.mark.parametrize(
    ("out", "media_types", "paths"),
    [
        ("out.png", ["image/png"], ["out.png"]),
        ("out.jpg", ["image/jpeg"], ["out.jpg"]),
        ("out.JPEG", ["image/jpeg"], ["out.JPEG"]),
        ("out", ["image/png"], ["out.png"]),
        ("out.png", ["image/png", "image/png"], ["out-1.png", "out-2.png"]),
        ("out.mp4", ["video/mp4"], ["out.mp4"]),
        ("out.gif", ["image/gif", "audio/wav"], ["out.gif", "out.wav"]),
        ("out.png", ["image/png", "application/x-npy"], ["out.png", "out.npy"]),
        (
            "out.png",
            ["image/png", "application/x-npy", "image/png", "application/x-npy"],
            ["out-1.png", "out-1.npy", "out-2.png", "out-2.npy"],
        ),
        ("out.png", ["text/plain; charset=utf-8"], ["out.txt"]),
        ("new/er/", ["image/png"], ["new/er/some-thing-7.png"]),
        ("new/", ["image/png", "image/png"], ["new/some-thing-7.png", "new/some-thing-7-2.png"]),
        (None, ["audio/flac", "model/gltf-binary"], ["some-thing-7.flac", "some-thing-7.glb"]),
    ],
)
def test_every_artifact_has_a_place(out: str | None, media_types: list[str], paths: list[str]) -> None:
    """Those of one format are numbered; one of another format keeps the name and gets its own suffix."""
    assert paths == written(out, *media_types)


@pytest.mark.parametrize(
    ("out", "paths"),
    [
        ("out.png", ["out-1.png", "out-1.npy", "out-2.png", "out-2.npy"]),
        ("out/", ["out/some-thing-7.png", "out/some-thing-7.npy", "out/some-thing-7-2.png", "out/some-thing-7-2.npy"]),
    ],
)
def test_results_that_come_one_by_one_are_numbered(out: str, paths: list[str]) -> None:
    """As they would be if they came together."""
    destination = Destination(out)
    destination.check()
    results = [made("image/png", "application/x-npy") for _ in range(2)]

    assert paths == [path.as_posix() for each in results for path in destination.write(each, several=True)]


def test_a_folder_keeps_what_it_has(elsewhere: Path) -> None:
    """No file of a folder is overwritten; a file that was named is."""
    written("kept/", "image/png")

    assert ["kept/some-thing-7-2.png"] == written("kept/", "image/png")
    assert written("out.png", "image/png") == written("out.png", "image/png")


def test_what_has_no_seed_is_named_after_its_model() -> None:
    """A pipeline without a generator has none."""
    (path,) = Destination(None).write(made("image/png", model="thing", seed=None))

    assert "thing.png" == path.name


@pytest.mark.parametrize("out", ["file/out.png", "file/", "program/", "program/out.png", "d/e/"])
def test_a_place_that_cannot_be_written_to_is_told_before_the_work(elsewhere: Path, out: str) -> None:
    """A folder that is a file, even one that may be run."""
    (elsewhere / "file").touch()
    (elsewhere / "program").touch(0o777)
    (elsewhere / "d").touch()

    with pytest.raises(ForbiddenPathError, match="is not writable") as caught:
        Destination(out).check()

    assert "-o" in caught.value.hint


def test_a_folder_in_the_way_of_a_file_is_told(elsewhere: Path) -> None:
    """No half of a file is left where the whole cannot be written."""
    (elsewhere / "out.png").mkdir()

    with pytest.raises(GenerationError, match=r"out\.png' could not be written"):
        Destination("out").write(made("image/png"))

    assert ["out.png"] == [path.name for path in elsewhere.iterdir()]


async def events_of(*events: Event) -> AsyncGenerator[Event, None]:
    """Yield events."""
    for event in events:
        yield event


async def test_watching_ends_with_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Progress with and without a known number of steps passes by; nothing goes to standard output."""
    result = made("image/png")
    found = await show_progress(
        events_of(Progress("queued"), Progress("running", 1, 4), Progress("decoding", 4, 4), result)
    )

    assert result is found
    assert "" == capsys.readouterr().out


async def test_watching_without_a_result_is_an_error() -> None:
    """Whatever ends the events early."""
    with pytest.raises(GenerationError, match="without a result"):
        await show_progress(events_of(Progress("queued")))


def test_a_result_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Nothing but the file is written there, and no file lies in the folder."""
    destination = Destination("-")
    destination.check()

    assert [] == destination.write(made("image/png"))
    assert b"1" == capfdbinary.readouterr().out
    assert [] == list(Path().iterdir())


def test_standard_output_has_one_file() -> None:
    """Several results, several files of one, and a terminal are refused; so is JSON beside the file."""
    with pytest.raises(InvalidParameterError, match="can have one result, not 2"):
        Destination("-").check(2)
    with pytest.raises(GenerationError, match="the result has 2"):
        Destination("-").write(made("video/mp4", "audio/wav"))
    with pytest.raises(InvalidParameterError, match="both write to standard output"):
        Destination("-", as_json=True)


def test_a_terminal_gets_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of an image would disturb it."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    with pytest.raises(InvalidParameterError, match="not written to a terminal"):
        Destination("-").check()


def test_a_result_is_described_as_json() -> None:
    """With its files, and what a server's answer says."""
    described = describe_result(made("image/png"), [Path("a.png")])

    assert {"path": "a.png", "media_type": "image/png", "seed": 7} == described["files"][0]
    assert ("some/thing", "Thing", "task") == (described["model"], described["pipeline"], described["task"])
    assert described == json.loads(json.dumps(described))


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Before the generation; a file in its place is not writable."""
    with pytest.raises(ForbiddenPathError, match=f"There is no folder '{tmp_path}/no/such' for"):
        Destination(str(tmp_path / "no" / "such" / "a.png")).check()

    (tmp_path / "file").touch()
    with pytest.raises(ForbiddenPathError, match="is not writable"):
        Destination(str(tmp_path / "file" / "a.png")).check()


def test_a_device_is_not_a_file() -> None:
    """Its name would be given a suffix."""
    with pytest.raises(ForbiddenPathError, match="'/dev/null' is not a file") as caught:
        Destination("/dev/null").check()

    assert "`-o -`" in caught.value.hint


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """No part of a file remains there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        artifact = Artifact("image", "image/png", bytes(100_000), 7)
        with pytest.raises(GenerationError, match="No space left on device"):
            Destination(str(disk / "a.png")).write(Generation("id", "thing", "Thing", "task", (artifact,)))

        assert [] == list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("out", ["a" * 300 + ".png", "a" * 300 + "/", "a\0b.png"])
def test_a_name_that_no_file_can_have_is_told(out: str) -> None:
    """Before the work, and also in the prompt line, where it is set."""
    with pytest.raises(ForbiddenPathError, match="cannot be a file"):
        Destination(out).check()


def test_one_status_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """One within another changes its text meanwhile, since two spinners would overwrite each other."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    texts = []
    with show_status("preparing"):
        (status,) = output._shown
        with show_status("starting"):
            texts.append((status.status, len(output._shown)))
        texts.append((status.status, len(output._shown)))

    assert [("starting", 1), ("preparing", 1)] == texts
    assert [] == output._shown


def test_two_programs_in_one_folder_keep_all_results() -> None:
    """One that finds a name free when another one does writes its own file; none is overwritten."""
    destinations = [Destination("out/"), Destination("out/")]
    for each in destinations:
        each.check()
    with ThreadPoolExecutor(4) as pool:
        generations = [made("image/png") for _ in range(60)]
        found = list(pool.map(lambda pair: destinations[pair[0] % 2].write(pair[1])[0], enumerate(generations)))

    assert 60 == len(set(found)) == len(list(Path("out").iterdir()))
