"""Images that are stored on the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typing_extensions import Self

from a1111_bodies import sent
from fakes import Server
from octabox.frontends.http.a1111.generation.saving import save_images

DAY = re.compile(r"\d{4}-\d\d-\d\d")


def names(folder: Path) -> list[str]:
    """Return the files in a folder and its subfolders."""
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


async def test_a_server_without_a_folder_stores_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That is a warning with the setting; a request that does not ask for it has none."""
    monkeypatch.chdir(tmp_path)
    _, warnings = await sent(Server(), prompt="x", save_images=True)
    _, without = await sent(Server(), prompt="x", save_images=False)

    assert [True] == ["a1111_outputs" in each for each in warnings]
    assert [] == without
    assert [] == names(tmp_path)


async def test_images_are_stored_as_the_web_ui_does(tmp_path: Path) -> None:
    """Each with its infotext, under the next number and its seed, whether or not the response has it."""
    server = Server(a1111_outputs=str(tmp_path))
    fields: dict[str, Any] = {"prompt": "a star", "seed": 7, "save_images": True, "do_not_save_samples": True}
    for options in ({}, {"send_images": False, "batch_size": 1}, {"override_settings": {"samples_format": "jpg"}}):
        _, warnings = await sent(server, **fields, **options)

        assert [] == warnings
    await sent(server, prompt="x")
    stored = names(tmp_path)
    with Image.open(tmp_path / stored[0]) as image:
        infotext = image.info["parameters"]

    assert ["txt2img-images"] * 3 == [each.split("/")[0] for each in stored]
    assert all(DAY.fullmatch(each.split("/")[1]) for each in stored)
    assert ["00000", "00001", "00002"] == [Path(each).name.split("-")[0] for each in stored]
    assert infotext.startswith("a star")


def test_numbers_go_on(tmp_path: Path) -> None:
    """Other files do not count, and a name that another request takes meanwhile is not overwritten."""
    file = (b"one", "image/png", 5)
    assert [] == save_images(tmp_path, "img2img", [file])
    (day,) = (tmp_path / "img2img-images").iterdir()
    (day / "notes.txt").write_text("n")
    (day / "00041-3.png").write_bytes(b"theirs")
    assert [] == save_images(tmp_path, "img2img", [file, (b"two", "image/webp", 6)])

    assert ["00000-5.png", "00041-3.png", "00042-5.png", "00043-6.webp", "notes.txt"] == names(day)
    assert b"theirs" == (day / "00041-3.png").read_bytes()


def test_a_name_that_is_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next number is that of the image."""
    monkeypatch.setattr("octabox.frontends.http.a1111.generation.saving._next_number", lambda _: 0)
    for content in (b"one", b"two"):
        assert [] == save_images(tmp_path, "txt2img", [(content, "image/png", 5)])
    (day,) = (tmp_path / "txt2img-images").iterdir()

    assert [b"one", b"two"] == [(day / name).read_bytes() for name in ("00000-5.png", "00001-5.png")]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The images are in the response anyway, so it is a warning with the reason."""
    (tmp_path / "outputs").write_text("a file")
    (warning,) = save_images(tmp_path / "outputs", "txt2img", [(b"", "image/png", 1)])

    assert "cannot be stored" in warning
    assert "Not a directory" in warning


def test_a_full_disk_leaves_no_part_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been written of it is removed."""
    real = Path.open

    def opened(path: Path, *args: Any) -> Any:
        return _Full(real(path, *args))

    monkeypatch.setattr(Path, "open", opened)
    (warning,) = save_images(tmp_path, "txt2img", [(b"much", "image/png", 1)])

    assert "No space left" in warning
    assert [] == names(tmp_path)


class _Full:
    """A file on a full disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, _: bytes) -> None:
        """Fail as the system does."""
        raise OSError(28, "No space left on device")
