"""Checks on an accelerator: run by a budget, reported whatever happens, and all of them tried with tiny models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from accelerator.environment import accelerator_environment
from gpu_checks.checks import ARCHITECTURES, CHECKS, covered
from gpu_checks.command import arguments, select
from gpu_checks.memory import came_back
from gpu_checks.models import architectures
from gpu_checks.report import JSON, PAGE, Report
from gpu_checks.runner import Check, CheckSkippedError, Outcome, Row, plan_checks, require, run_checks, time_limit
from octabox.config.memory.modes import Mode
from octabox.config.model import Dtype
from octabox.config.performance import Profile
from octabox.hub.checkpoints import bundles

ROOT = Path(__file__).parents[2]

GB = 10**9


def measures(_: object) -> Iterator[Row]:
    """Measure something."""
    yield {"figure": 1}


def measures_and_fails(_: object) -> Iterator[Row]:
    """Measure something, and find it wrong."""
    yield {"figure": 2}
    require(False, "it is wrong")


def breaks(_: object) -> Iterator[Row]:
    """Break before anything was measured."""
    raise ZeroDivisionError("by nothing")
    yield {}


def lasts(_: object) -> Iterator[Row]:
    """Take longer than any limit here."""
    yield {"figure": 3}
    time.sleep(20)


def is_out_of_place(_: object) -> Iterator[Row]:
    """Say that this machine lacks something."""
    raise CheckSkippedError("there is none here")
    yield {}


def check(name: str, run: Any, cost: float = 0, limit: float = 10, needs: tuple[str, ...] = ()) -> Check:
    """Return a check."""
    return Check(name, "Table", run, cost, limit, needs)


def run(*checks: Check, budget: float = 60) -> list[Outcome]:
    """Run checks, and return what became of them."""
    return run_checks(checks, None, budget, lambda _: None)


def test_a_check_that_fails_does_not_end_the_others() -> None:
    """What was measured before an error stays, the error is named, and the next check is run."""
    wrong, broken, good = run(check("wrong", measures_and_fails), check("broken", breaks), check("good", measures))

    assert ("failed", [{"figure": 2}], "it is wrong") == (wrong.status, wrong.rows, wrong.error)
    assert "failed" == broken.status
    assert broken.error.startswith("ZeroDivisionError: by nothing (breaks, test_gpu_check.py:")
    assert ("ok", [{"figure": 1}], "") == (good.status, good.rows, good.error)


def test_a_check_has_a_limit() -> None:
    """A check that lasts too long is ended and has failed; the next one is run."""
    long, good = run(check("long", lasts, limit=0.2), check("good", measures))

    assert ("failed", [{"figure": 3}], "it was ended after 0 s") == (long.status, long.rows, long.error)
    assert long.seconds < 10
    assert "ok" == good.status


def test_what_does_not_fit_is_listed() -> None:
    """A check that is expected to take longer than is left is not run, and a shorter one after it is."""
    large, small = run(check("large", measures, cost=1000), check("small", measures), budget=60)

    assert ("not run", []) == (large.status, large.rows)
    assert large.error.startswith("takes about 1000 s, ")
    assert "ok" == small.status


def test_a_check_needs_others() -> None:
    """What another check must have made is not tried without it; a reason not to run is passed on."""
    broken, needing, misplaced = run(
        check("broken", breaks), check("needing", measures, needs=("broken",)), check("misplaced", is_out_of_place)
    )

    assert "failed" == broken.status
    assert ("skipped", "needs broken") == (needing.status, needing.error)
    assert ("skipped", "there is none here") == (misplaced.status, misplaced.error)


def test_a_limit_ends_with_its_context() -> None:
    """Nothing is interrupted after a context that was left in time."""
    with time_limit(0.05):
        pass

    time.sleep(0.1)


def test_results_are_written_after_every_check(tmp_path: Path) -> None:
    """The files are there before the first check, with all checks in them, and are written anew after each."""
    report, seen = Report(tmp_path, {"accelerator": "one", "driver": None}, {"budget": "1 s"}), []

    def write(outcomes: list[Outcome]) -> None:
        report.write(outcomes)
        content = json.loads((tmp_path / JSON).read_text(encoding="utf-8"))
        seen.append([each["status"] for each in content["checks"]])

    run_checks([check("first", measures), check("second", breaks)], None, 60, write)

    assert [["not run", "not run"], ["ok", "not run"], ["ok", "failed"]] == seen
    assert {JSON, PAGE} == {file.name for file in tmp_path.iterdir()}


def test_the_page_has_a_table_for_each_subject(tmp_path: Path) -> None:
    """Rows of checks stand under their heading with a column for each figure, and every check is listed with its result."""
    outcomes = [
        Outcome("one", "Speed", "ok", 1.0, [{"model": "a", "it/s": 12.3456}]),
        Outcome("two", "Speed", "failed", 2.0, [{"model": "b", "GB": None}], "a | b"),
        Outcome("three", "Nothing"),
    ]

    Report(tmp_path, {"accelerator": "GPU X", "driver": None}, {}).write(outcomes)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")

    assert "GPU X" in page.splitlines()[0]
    assert "### Speed\n\n| model | it/s | GB |\n|---|---|---|\n| a | 12.3 |  |\n| b |  |  |\n" in page
    assert "### Nothing" not in page
    assert "1 ok, 1 failed, 0 skipped, 1 not run" in page
    assert "| two | failed | 2 | a \\| b |" in page
    assert "| three | not run | 0 |  |" in page
    assert "driver" not in page


def test_cells_are_words(tmp_path: Path) -> None:
    """Mappings are written without braces, sentences as sentences, and what is empty as nothing."""
    row = {
        "applied": {"compile": "unet", "tf32": "on"},
        "skipped": {},
        "GB": [1.0, 2.5],
        "warnings": ["It is slow.", "So."],
    }

    Report(tmp_path, {}, {}).write([Outcome("one", "Speed", "ok", 1.0, [row])])

    assert "\n| compile: unet; tf32: on |  | 1, 2.5 | It is slow. So. |\n" in (tmp_path / PAGE).read_text(
        encoding="utf-8"
    )


def test_memory_must_come_back() -> None:
    """A little more in use is what an allocator keeps; more than that is lost, and without an accelerator nothing is."""
    assert came_back(10 * GB, 10 * GB + GB // 5)
    assert not came_back(10 * GB, 11 * GB)
    assert came_back(None, None)


def test_a_selected_check_brings_what_it_needs() -> None:
    """Checks are selected by a word of their names, in their order, with those that they need."""
    assert ["build sd15", "kill"] == [check.name for check in select(["kill"])]
    assert list(CHECKS) == select([""])


def test_checks_are_ordered_by_need() -> None:
    """A check stands behind those that it needs, has a name of its own, and may take longer than is expected."""
    names = [check.name for check in CHECKS]

    assert len(names) == len(set(names))
    assert all(names.index(need) < names.index(check.name) for check in CHECKS for need in check.needs)
    assert all(check.cost < check.limit for check in CHECKS)


def test_the_plan_leaves_out_what_does_not_fit() -> None:
    """And what needs it; a shorter check that follows is planned."""
    large = check("large", measures, cost=50)
    checks = [
        check("first", measures, cost=20),
        large,
        check("needing", measures, needs=("large",)),
        check("small", measures, 5),
    ]

    assert ["first", "small"] == [each.name for each in plan_checks(checks, 60)]
    assert len(checks) == len(plan_checks(checks, 75))


def test_the_default_budget_covers_everything() -> None:
    """By the declared costs: each memory mode of each model, each dtype, each profile, and each row of the batch table."""
    budget = arguments("").get_default("budget_s")
    found = {each for check in plan_checks(CHECKS, budget) for each in check.covers}
    modes = set(get_args(Mode)) - {"auto"}
    expected = {covered("memory", mode, model) for mode in modes for model in architectures(tiny=False)}
    expected |= {covered("dtype", dtype) for dtype in get_args(Dtype)}
    expected |= {covered("profile", profile) for profile in get_args(Profile)}
    # Batches are made by whole models and by layers; encoders are no part of what is timed.
    expected |= {covered("batches", mode) for mode in modes - {"encoder_offload"}}

    assert set() == expected - found
    assert {"sd15 swaps", "out of memory", "cancel", "kill", "sd15 ratio"} <= {
        each.name for each in plan_checks(CHECKS, budget)
    }


def test_all_checks_cover_each_profile_of_each_model() -> None:
    """With a larger budget, or selected by their names."""
    found = {each for check in CHECKS for each in check.covers}

    assert set() == {covered("profile", each, model) for each in get_args(Profile) for model in ARCHITECTURES} - found


@pytest.mark.parametrize("tiny", [True, False])
def test_models_have_the_published_architectures(tiny: bool) -> None:
    """Each model is a bundle of Octabox's own, and differs from it in components that it has."""
    for architecture in architectures(tiny=tiny).values():
        with bundles.bundle_folder(architecture.bundle, architecture.pipeline) as folder:
            assert set(architecture.changes) <= {part.name for part in folder.iterdir()}
        assert bool(tiny) <= bool(architecture.changes)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("pretended", [False, True], ids=["processor", "pretended accelerator"])
def test_every_check_runs(pretended: bool, tmp_path: Path) -> None:
    """With tiny models every check of the command runs and succeeds, with and without an accelerator."""
    device = accelerator_environment(folder=tmp_path / "device", memory=4 * 2**30) if pretended else {}
    command = [sys.executable, "tools/gpu_check.py", "--smoke", "--threads", "1", "--budget-s", "1100"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **device, "OUT": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        check=False,
    )
    content = json.loads((tmp_path / "out" / JSON).read_text(encoding="utf-8"))

    assert {} == {each["name"]: each["error"] for each in content["checks"] if each["status"] != "ok"}, done.stderr
    assert 0 == done.returncode, done.stdout
    assert ("Pretended accelerator 0" if pretended else None) == content["machine"]["accelerator"]
    assert all(each["rows"] for each in content["checks"])
    assert "### Batches (direct calls)" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
