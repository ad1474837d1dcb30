"""What failed in which dtype, kept between loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.engine.worker.placement import dtype_failures
from octabox.engine.worker.placement.dtype_failures import device_model, failed_dtypes, record_failed_dtypes

KEY = {"pipeline": "Some", "parts": "A,B", "device": "cuda"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record dtype failures in a folder of the test."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_failure_is_kept() -> None:
    """What failed is known afterwards with its reason, in addition to what failed before."""
    record_failed_dtypes(KEY, {"bfloat16": "no"})
    record_failed_dtypes(KEY, {"float16": "no either"})

    assert {"bfloat16": "no", "float16": "no either"} == failed_dtypes(KEY)


@pytest.mark.parametrize("change", [{"pipeline": "Other"}, {"parts": "A"}, {"device": "mps"}])
def test_a_failure_holds_for_what_it_was_seen_with(change: dict[str, str]) -> None:
    """Another class, other components and another device start anew."""
    record_failed_dtypes(KEY, {"bfloat16": "no"})

    assert {} == failed_dtypes({**KEY, **change})


def test_another_version_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another version of a library the dtype is tried again."""
    record_failed_dtypes(KEY, {"bfloat16": "no"})
    monkeypatch.setattr(dtype_failures, "installed_versions", lambda packages: dict.fromkeys(packages, "99"))

    assert {} == failed_dtypes(KEY)


def test_a_damaged_file_counts_for_nothing(cache: Path) -> None:
    """An unreadable file is ignored and written again."""
    record_failed_dtypes(KEY, {"bfloat16": "no"})
    next(cache.rglob("*.json")).write_text("[", encoding="utf-8")

    assert {} == failed_dtypes(KEY)
    record_failed_dtypes(KEY, {"float16": "no"})
    assert {"float16": "no"} == failed_dtypes(KEY)


def test_a_folder_that_cannot_be_written_to_is_no_error(cache: Path) -> None:
    """A verdict that cannot be kept costs another trial, and nothing else."""
    cache.write_text("a file", encoding="utf-8")
    record_failed_dtypes(KEY, {"bfloat16": "no"})

    assert {} == failed_dtypes(KEY)


def test_a_device_is_told_by_its_kind() -> None:
    """All devices of one type and name are alike."""
    assert "cpu" == device_model("cpu")
