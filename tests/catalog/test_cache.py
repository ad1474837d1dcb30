"""Keeping the catalog on disk."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octabox.catalog import cache
from octabox.catalog.entries import PackageMetadata
from octabox.catalog.pipelines import read_package_metadata


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an empty cache."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))


def kept(folder: Path) -> PackageMetadata | None:
    """Return what the cache holds for a folder as it is now."""
    return cache.load_metadata(folder, cache.fingerprint(folder, ""))


def test_the_second_reading_is_from_the_cache(made_up: Path) -> None:
    """What comes from the cache equals what was read, and is no reading."""
    first = read_package_metadata("brushes", made_up)

    assert first == kept(made_up)
    assert [cache.cache_file(made_up)] == list(cache.cache_folder().glob("*.json"))


def test_one_of_several_reads_for_all(made_up: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those that find no cache at the same time wait for the one that reads."""
    caplog.set_level(logging.DEBUG)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: read_package_metadata("brushes", made_up), range(4))]

    assert all(each == found[0] for each in found)
    assert 1 == caplog.text.count("the source of brushes is being read")


def test_a_lock_that_is_not_released_is_not_waited_for_without_limit(
    made_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, the source is read without it."""
    monkeypatch.setattr(cache, "LOCK_TIMEOUT", 0.05)
    with cache.locked(made_up):
        assert read_package_metadata("brushes", made_up).schedulers


def test_a_changed_file_is_read_again(made_up: Path) -> None:
    """A file that changes, even to the same size, makes the cache worthless."""
    read_package_metadata("brushes", made_up)
    file = made_up / "schedulers" / "scheduling_drip.py"
    file.write_text(file.read_text(encoding="utf-8").replace("DripSched", "DropSched"), encoding="utf-8")
    os.utime(file, ns=(0, 0))

    assert kept(made_up) is None
    assert ["DropScheduler"] == [entry.name for entry in read_package_metadata("brushes", made_up).schedulers]


def test_another_version_is_read_again(made_up: Path) -> None:
    """The version of the package counts besides its files."""
    assert cache.fingerprint(made_up, "1.0") != cache.fingerprint(made_up, "1.1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda text: text[: len(text) // 2],
        lambda _: b"\x80\x04\x95 a pickle",
        lambda _: b"[]",
        lambda _: b"null",
        lambda text: json.dumps({**json.loads(text), "metadata": {"pipelines": [{}]}}).encode(),
        lambda text: json.dumps({**json.loads(text), "metadata": {"pipelines": 3}}).encode(),
    ],
    ids=["empty", "truncated", "foreign", "a list", "null", "nameless", "of another shape"],
)
def test_a_damaged_cache_is_made_anew(made_up: Path, damage: object) -> None:
    """Whatever lies in the cache's place, the catalog is right, and the cache is whole again."""
    expected = read_package_metadata("brushes", made_up)
    file = cache.cache_file(made_up)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]

    assert kept(made_up) is None
    assert expected == read_package_metadata("brushes", made_up)
    assert expected == kept(made_up)


def test_no_place_for_a_cache_is_no_error(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, the catalog is read each time."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "file"))

    assert 4 == len(read_package_metadata("brushes", made_up).pipelines)


def test_a_folder_that_cannot_be_written_is_reported(
    made_up: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The source is read all the same, and the setting to change is named."""
    (tmp_path / "cache").touch()

    assert read_package_metadata("brushes", made_up).pipelines
    assert ["WARNING"] == [each.levelname for each in caplog.records]
    assert f"{tmp_path}/cache cannot be written" in caplog.text
    assert "`cache_dir`" in caplog.text
