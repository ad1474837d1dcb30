"""Every tiny pipeline in every mode on the pretended accelerator: none is worse than in the stored table."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from accelerator.table import RANKS, rank, read_reasons, read_table, reason_of
from accelerator.trials import MODES, Trial, silence_libraries
from makers import Tiny, pipelines

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    """Silence the libraries, and exclude imported objects from garbage collection."""
    silence_libraries()
    gc.collect()
    gc.freeze()


@pytest.fixture(params=list(pipelines()))
def tiny(request: pytest.FixtureRequest) -> Tiny:
    """Return what makes a tiny pipeline."""
    made = pipelines()[request.param]
    if made.missing:
        pytest.skip(f"needs {', '.join(made.missing)}")
    return made


def test_a_pipeline_does_as_well_as_before(tiny: Tiny, tmp_path: Path) -> None:
    """Each mode works or has the rank of the table; a better one must be written into the table."""
    kept = read_table().get(tiny.name)
    assert kept is not None, f"it is not in the table yet: run `python tests/accelerator/table.py {tiny.name}`"

    trial = Trial(tiny, tmp_path)
    found = {mode: trial.outcome(mode) for mode in MODES}

    assert {} == {mode: each for mode, each in found.items() if rank(each) > rank(kept[mode])}, "it does worse"
    better = {mode: each for mode, each in found.items() if rank(each) < rank(kept[mode])}
    assert {} == better, f"it does better: run `python tests/accelerator/table.py {tiny.name}`"


def test_the_table_is_whole() -> None:
    """Each class has an outcome for each mode, of a known kind."""
    table = read_table()

    assert {name for name, tiny in pipelines().items() if not tiny.missing} <= table.keys() <= pipelines().keys()
    assert {frozenset(MODES)} == {frozenset(outcomes) for outcomes in table.values()}
    assert {each.partition(":")[0] for outcomes in table.values() for each in outcomes.values()} <= set(RANKS)


def test_each_reason_holds() -> None:
    """A reason that explains nothing in the table any more is to go."""
    reasons = read_reasons()
    used = {
        reason_of(name, outcome, reasons)
        for name, outcomes in read_table().items()
        for outcome in outcomes.values()
        if rank(outcome)
    }

    assert [] == [reason.text for reason in reasons if reason not in used]


def test_nearly_all_work() -> None:
    """Of a hundred pairs of class and mode at least 95 run; what does not has a reason that is not ours."""
    reasons = read_reasons()
    pairs = [(name, each) for name, outcomes in read_table().items() for each in outcomes.values()]
    failing = [(name, each) for name, each in pairs if rank(each) > 1]

    assert [] == [f"{name}: {each}" for name, each in failing if not reason_of(name, each, reasons)]
    assert len(failing) <= 0.05 * len(pairs)
