"""The table of outcomes of every tiny pipeline in every mode on the pretended accelerator, stored in ``pipelines.yaml``.

Write it again, for all classes or those whose names start with NAME, by
``python tests/accelerator/table.py [--processes N] [NAME ...]``.
It prints the counts; ``make docs`` copies them to docs/reference/pipelines.md.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

KEPT = Path(__file__).with_name("pipelines.yaml")
REASONS = Path(__file__).with_name("reasons.yaml")

#: Outcomes by class, then by mode.
Table = dict[str, dict[str, str]]

#: Prefixes of outcomes from good to bad.
RANKS = ("works", "falls back", "refused", "fails", "differs")

HEAD = """\
# Outcomes of each tiny pipeline on the pretended accelerator by mode; written by tests/accelerator/table.py.
# Each outcome that is not `works` has a reason in reasons.yaml, or is ours to fix.
"""


@dataclass(frozen=True)
class Reason:
    """Why a mode does not work for a class, which is not ours to fix.

    Args:
        text: The reason, as the page has it.
        whose: Who could fix it: ``diffusers``, ``transformers`` or ``device`` (the pretended accelerator itself).
        outcome: A pattern of the outcomes that it is for.
        classes: A pattern of the names of the classes that it is for.
    """

    text: str
    whose: str
    outcome: str
    classes: str = ""

    def covers(self, name: str, outcome: str) -> bool:
        """Return whether it is the reason for the outcome of a class."""
        return bool(re.search(self.outcome, outcome) and re.fullmatch(self.classes or ".*", name))


def rank(outcome: str) -> int:
    """Return the index of an outcome in `RANKS`."""
    return RANKS.index(outcome.partition(":")[0])


def read_table() -> Table:
    """Read the stored table."""
    return (yaml.safe_load(KEPT.read_text(encoding="utf-8")) or {}) if KEPT.exists() else {}


def write_table(table: Table) -> None:
    """Write the table."""
    text = yaml.safe_dump(dict(sorted(table.items())), sort_keys=False, width=120, allow_unicode=True)
    KEPT.write_text(HEAD + text, encoding="utf-8")


def read_reasons() -> list[Reason]:
    """Return the reasons."""
    return [Reason(**each) for each in yaml.safe_load(REASONS.read_text(encoding="utf-8")) or []]


def reason_of(name: str, outcome: str, reasons: list[Reason]) -> Reason | None:
    """Return the reason for the outcome of a class; None if there is none."""
    return next((reason for reason in reasons if reason.covers(name, outcome)), None)


def counts(table: Table, reasons: list[Reason]) -> dict[str, Counter[str]]:
    """Return by mode how often each kind of outcome is in a table; ``excused`` are those with a reason that is not ours."""
    found: dict[str, Counter[str]] = {}
    for name, outcomes in table.items():
        for mode, outcome in outcomes.items():
            count = found.setdefault(mode, Counter())
            count[RANKS[rank(outcome)]] += 1
            count["excused"] += rank(outcome) > 1 and reason_of(name, outcome, reasons) is not None
    return found


def summary(table: Table, reasons: list[Reason]) -> Iterator[str]:
    """Yield lines with the number of classes that work in each mode."""
    total: Counter[str] = Counter()
    for mode, count in counts(table, reasons).items():
        total += count
        yield f"{mode}: {_line(count)}"
    yield f"all {sum(total[kind] for kind in RANKS)} pairs of class and mode: {_line(total)}"


def _line(count: Mapping[str, int]) -> str:
    pairs = sum(count.get(kind, 0) for kind in RANKS)
    good = count.get("works", 0) + count.get("falls back", 0)
    kinds = ", ".join(f"{kind} {count[kind]}" for kind in RANKS if count.get(kind))
    return f"{kinds} ({100 * good / max(1, pairs):.1f} % run); not ours {count.get('excused', 0)}"


def main() -> None:
    """Try classes, and keep what becomes of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="how names of classes begin; all classes, if none is given")
    given = parser.parse_args()
    if given.into:
        _try(given.names, given.part, given.processes, given.into)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{part}.yaml" for part in range(given.processes)]
        _run_parts(files, sys.argv[1:])
        table = read_table()
        for file in files:
            table |= yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    write_table(table)
    print("\n".join(summary(table, read_reasons())))  # noqa: T201 (it is a program)


def _run_parts(files: list[Path], arguments: list[str]) -> None:
    """Try the classes in processes that have the device, each a part of them."""
    from accelerator.environment import accelerator_environment  # noqa: PLC0415 (its folder is on the path by now)

    environment = {**os.environ, **accelerator_environment(), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[1])
    command = [sys.executable, __file__, *arguments]
    flags = [["--part", str(part), "--into", str(file)] for part, file in enumerate(files)]
    running = [subprocess.Popen([*command, *each], env=environment) for each in flags]
    if any([process.wait() for process in running]):  # noqa: C419 (each is waited for)
        sys.exit("A process failed; nothing was written.")


def _try(names: list[str], part: int, parts: int, into: Path) -> None:
    from accelerator.trials import MODES, Trial, silence_libraries  # noqa: PLC0415 (torch is imported where the device is)
    from makers import pipelines  # noqa: PLC0415

    chosen = [tiny for name, tiny in pipelines().items() if not names or name.startswith(tuple(names))]
    table: Table = {}
    silence_libraries()
    gc.collect()
    gc.freeze()
    for tiny in chosen[part::parts]:
        if tiny.missing:
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = Trial(tiny, Path(folder))
            table[tiny.name] = {mode: trial.outcome(mode) for mode in MODES}
        bad = [f"{mode}: {each}" for mode, each in table[tiny.name].items() if rank(each)]
        print(tiny.name, *bad, flush=True)  # noqa: T201 (as above)
    into.write_text(yaml.safe_dump(table), encoding="utf-8")


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "plugin")]
    main()
