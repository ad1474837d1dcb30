"""The files that requests name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from octabox.errors import CapacityError, ForbiddenPathError, InvalidParameterError, MediaError, MissingParameterError
from octabox.frontends.grpc.localai.making.files import AllowedPaths, write


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with folders for results, for models and for secrets."""
    for name in ("results", "models", "secrets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def roots(place: Path) -> AllowedPaths:
    """Return roots that allow results and models."""
    return AllowedPaths([place / "results"], [place / "models"], max_bytes=10)


def test_files_of_the_allowed_folders_are_read(roots: AllowedPaths, place: Path) -> None:
    """What lies in an allowed folder is read, however the way there is written."""
    assert b"models" == roots.read(str(place / "results/../models/file"), "src")
    assert b"results" == roots.read(str(place / "results/file"), "src")


@pytest.mark.parametrize("path", ["secrets/file", "results/../secrets/file", "results/link/file", "results/direct"])
def test_nothing_else_is_read(roots: AllowedPaths, place: Path, path: str) -> None:
    """No way around leads out, be it dots or links."""
    (place / "results/link").symlink_to(place / "secrets")
    (place / "results/direct").symlink_to(place / "secrets/file")

    with pytest.raises(ForbiddenPathError) as caught:
        roots.read(str(place / path), "src")

    assert "src" == caught.value.parameter


@pytest.mark.parametrize("path", ["results/none", "results", "results/large", "results/pipe"])
def test_what_cannot_be_read_is_named(roots: AllowedPaths, place: Path, path: str) -> None:
    """A file that is not there, is a folder or a pipe, or is too large, is an error and no wait."""
    (place / "results/large").write_bytes(bytes(11))
    os.mkfifo(place / "results/pipe")

    with pytest.raises(MediaError, match=path):
        roots.read(str(place / path), "src")


def test_odd_paths_are_refused(roots: AllowedPaths) -> None:
    """A path that no system takes is an error of the request."""
    for path in ("\0", "/tmp/a\0b"):
        with pytest.raises(InvalidParameterError):
            roots.read(path, "src")
        with pytest.raises(InvalidParameterError):
            roots.resolve_target(path)


@pytest.mark.parametrize(
    "path", ["secrets/new", "models/new", "results/../secrets/new", "results/link/new", "results/.."]
)
def test_nothing_is_written_elsewhere(roots: AllowedPaths, place: Path, path: str) -> None:
    """Results go into the folders for them: not among the models, and not through links."""
    (place / "results/link").symlink_to(place / "secrets")

    with pytest.raises(ForbiddenPathError):
        roots.resolve_target(str(place / path))


def test_a_target_needs_its_folder(roots: AllowedPaths, place: Path) -> None:
    """Without a path, in a folder that is not there, and in the place of a folder, nothing can be written."""
    (place / "results/folder").mkdir()

    with pytest.raises(MissingParameterError):
        roots.resolve_target("")
    for path in ("results/none/new", "results/folder"):
        with pytest.raises(InvalidParameterError):
            roots.resolve_target(str(place / path))


def test_a_link_in_the_place_of_a_result_is_replaced(roots: AllowedPaths, place: Path) -> None:
    """What a link leads to stays as it is."""
    (place / "results/new").symlink_to(place / "secrets/file")
    write(roots.resolve_target(str(place / "results/new")), b"made")

    assert (b"made", b"secrets") == ((place / "results/new").read_bytes(), (place / "secrets/file").read_bytes())


def test_a_file_is_written_whole_or_not_at_all(place: Path) -> None:
    """A failure leaves what was there, and nothing beside it; a file can be read by others, or has the rights it had."""
    target = place / "results/made"
    write(target, b"one")
    assert 0o644 == target.stat().st_mode & 0o777
    target.chmod(0o600)
    write(target, b"two")
    assert (b"two", 0o600) == (target.read_bytes(), target.stat().st_mode & 0o777)

    (place / "results/taken").mkdir()
    with pytest.raises(CapacityError):
        write(place / "results/taken", b"three")
    assert ["file", "made", "taken"] == sorted(path.name for path in (place / "results").iterdir())


def test_the_root_of_all_files_allows_nothing(place: Path) -> None:
    """A client that names `/` as its models folder does not open the whole machine."""
    with pytest.raises(ForbiddenPathError):
        AllowedPaths([]).with_readable(Path("/")).read(str(place / "secrets/file"), "src")
