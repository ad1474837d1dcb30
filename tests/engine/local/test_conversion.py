"""A conversion replaces a folder as a whole or not at all; the process that writes it is tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_worker import PIPELINE, model
from octabox.engine.conversions import Conversion, Converted
from octabox.engine.local import conversion
from octabox.engine.local.conversion import convert
from octabox.engine.local.processes.starting import ProcessEndedError
from octabox.engine.messages import BadFork, WorkerOptions
from octabox.errors import ForbiddenPathError, LoadError, WorkerDiedError

#: Replaces the process: called with the folder that it is to write to.
Process = Callable[[Path], Any]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Return the processes that the next conversion starts, in their order."""
    processes: list[Process] = []

    def ask(context: Any, function: Any, order: tuple[Conversion, Path], silence: float) -> Any:
        assert silence > 0
        del context, function
        return processes.pop(0)(order[1])

    monkeypatch.setattr(conversion, "ask_process", ask)
    return processes


def order(out: Path) -> Conversion:
    """Return the order to write a model to a folder."""
    return Conversion(model(), PIPELINE, out, WorkerOptions())


def old_model(out: Path) -> Path:
    """Write something that looks like a model, and return its file."""
    out.mkdir()
    file = out / "model_index.json"
    file.write_text('{"_class_name": "Old"}')
    return file


def write(part: Path) -> Converted:
    """Write a model."""
    (part / "model_index.json").write_text('{"_class_name": "New"}')
    return Converted(("a warning",))


def test_a_folder_appears_once_it_is_complete(tmp_path: Path, process: list[Process]) -> None:
    """While the process writes, the path is free; at the end nothing lies next to it."""
    out = tmp_path / "deep" / "out"

    def write_slowly(part: Path) -> Converted:
        answer = write(part)
        assert not out.exists()
        return answer

    process.append(write_slowly)
    assert ("a warning",) == convert(order(out)).warnings
    assert "New" in (out / "model_index.json").read_text()
    assert [out] == list(out.parent.iterdir())


def fail(part: Path) -> LoadError:
    """Write a half, and report an error."""
    write(part)
    return LoadError("The weights are damaged.")


def end(part: Path) -> None:
    """Write a half, and end."""
    write(part)
    raise ProcessEndedError(-9)


@pytest.mark.parametrize(
    ("failure", "error", "words"), [(fail, LoadError, "damaged"), (end, WorkerDiedError, "ran out of memory")]
)
@pytest.mark.parametrize("old", [False, True], ids=["new", "replaced"])
def test_a_conversion_that_fails_changes_nothing(
    tmp_path: Path, process: list[Process], failure: Process, error: type[Exception], words: str, old: bool
) -> None:
    """Neither a half-written folder is left, nor is the model lost that was to be replaced."""
    file = old_model(tmp_path / "out") if old else None
    process.append(failure)
    with pytest.raises(error, match=words):
        convert(order(tmp_path / "out"), force=True)

    assert [tmp_path / "out"] * old == list(tmp_path.iterdir())
    assert file is None or "Old" in file.read_text()


def test_a_model_is_replaced_by_force(tmp_path: Path, process: list[Process]) -> None:
    """The old one stays until the new one is complete."""
    file = old_model(tmp_path / "out")

    def replace(part: Path) -> Converted:
        assert "Old" in file.read_text()
        return write(part)

    process.append(replace)
    convert(order(tmp_path / "out"), force=True)

    assert "New" in file.read_text()
    assert [tmp_path / "out"] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_renamed_leaves_the_old_one(
    tmp_path: Path, process: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step may fail as well as any other."""
    file = old_model(tmp_path / "out")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    process.append(write)
    with pytest.raises(OSError, match="Input/output"):
        convert(order(tmp_path / "out"), force=True)

    assert "Old" in file.read_text()
    assert [tmp_path / "out"] == list(tmp_path.iterdir())


def test_a_bad_fork_is_followed_by_a_new_process(tmp_path: Path, process: list[Process]) -> None:
    """The second one writes to the same folder."""
    process += [lambda _: BadFork(("cuda",)), write]
    convert(order(tmp_path / "out"))

    assert "New" in (tmp_path / "out" / "model_index.json").read_text()


@pytest.mark.parametrize("force", [False, True])
def test_nothing_else_is_ever_replaced(tmp_path: Path, force: bool) -> None:
    """Neither a folder of something else, nor a file, nor a link; a model only by force."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    old_model(tmp_path / "model")
    for name in ("papers", "file", "link", *(["model"] if not force else [])):
        with pytest.raises(ForbiddenPathError, match=name):
            convert(order(tmp_path / name), force=force)

    assert (tmp_path / "papers" / "thesis.txt").exists()


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told how, and no folder remains."""
    monkeypatch.setattr(conversion, "work", _hang)
    monkeypatch.setattr(conversion, "SILENCE", 0.4)

    with pytest.raises(WorkerDiedError, match=r"used no CPU time for .* minutes, and was ended"):
        convert(order(tmp_path / "out"))

    assert [] == list(tmp_path.iterdir())


def _hang(connection: Any) -> None:
    """Take the order, and wait for another."""
    connection.recv()
    connection.recv()
