"""A change whose commit has no answer: it is found out later whether it is stored, and the jobs are run or forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listens_for, remove
from sqlalchemy.exc import OperationalError

from octabox.service.jobs.errors import UncertainCommitError
from queue_houses import House, until


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Return an empty queue over fakes, whose store is open."""
    house = House(tmp_path)
    await house.queue.open()
    yield house
    await house.queue.close()


def fail_commit(house: House, monkeypatch: pytest.MonkeyPatch, *, commits: bool) -> None:
    """Let the next commit of a change of jobs fail, before or after the database has done it."""
    assert house.queue.store._database
    engine = house.queue.store._database.engine
    commit, rollback, changes = engine.dialect.do_commit, engine.dialect.do_rollback, list[str]()

    @listens_for(engine, "before_cursor_execute")
    def note(*details: Any) -> None:
        changes.extend(each for each in ("INSERT INTO jobs ", "UPDATE jobs ") if details[2].startswith(each))

    def fail(connection: Any) -> None:
        if not changes:
            commit(connection)
            return
        monkeypatch.undo()
        remove(engine, "before_cursor_execute", note)
        (commit if commits else rollback)(connection)
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(engine.dialect, "do_commit", fail)


def media() -> dict[str, Any]:
    """Return a field of a request that is stored in a file."""
    return {"inputs": {"image": (b"\x00" * 100,)}}


def files(house: House) -> list[Path]:
    """Return the files of jobs."""
    return [*(house.folder / "jobs" / "files").iterdir()]


@pytest.mark.parametrize("commits", [True, False], ids=["stored", "not stored"])
async def test_a_job_whose_commit_has_no_answer_runs_if_it_is_stored(
    house: House, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """Without a restart; one that is not stored leaves no file, and its id is free."""
    fail_commit(house, monkeypatch, commits=commits)
    with pytest.raises(UncertainCommitError, match="closed the connection unexpectedly"):
        await house.accept("a", **media())
    assert [] == house.runs.order
    assert 1 == len(files(house))

    await house.queue.lease.renew()

    if commits:
        assert ["completed"] == [job.status for job in await house.ended("a")]
        assert ["a"] == house.runs.order
    else:
        assert [] == files(house)
        await house.accept("a", **media())
        await house.ended("a")


async def test_a_submission_that_is_sent_again_with_its_key_is_the_stored_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the next renewal, and runs once."""
    fail_commit(house, monkeypatch, commits=True)

    await house.accept("a", key="key")
    await house.queue.lease.renew()
    await house.ended("a")
    await house.queue.lease.renew()

    assert ["a"] == house.runs.order


@pytest.mark.parametrize("commits", [True, False], ids=["stored", "not stored"])
async def test_a_retry_whose_commit_has_no_answer_can_be_repeated(
    house: House, monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """At once where it is not stored; otherwise the job runs after the next renewal, and is refused until then."""
    house.runs.error = UncertainCommitError("It failed.")
    house.runs.automatic = False
    await house.accept("a")
    await house.runs.started("a")
    await house.queue.cancel("a")
    house.runs.error, house.runs.automatic = None, True
    fail_commit(house, monkeypatch, commits=commits)
    with pytest.raises(UncertainCommitError):
        await house.queue.retry("a")

    if not commits:
        await house.queue.retry("a")
    await house.queue.lease.renew()

    await until(lambda: ["a", "a"] == house.runs.order)
    await house.queue.lease.renew()
    assert ["completed"] == [job.status for job in await house.ended("a")]
    assert ["a", "a"] == house.runs.order
