"""The command line: which checks are run, for how long, and where the results go."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_checks import machine
from gpu_checks.bench import Bench
from gpu_checks.checks import CHECKS
from gpu_checks.report import PAGE, Report, counted
from gpu_checks.runner import Check, Outcome, run_checks


def main(description: str) -> int:
    """Run the checks, and return 1 where one has failed.

    Args:
        description: Text of `--help`.
    """
    flags = arguments(description).parse_args()
    out = flags.out or Path(os.environ.get("OUT") or ".")
    checks = select(flags.only or [""])
    settings = {"budget": f"{flags.budget_s} s", "models": "tiny" if flags.smoke else "full size"}
    report = Report(out, machine.describe(), settings)
    reported = 0

    def write(outcomes: list[Outcome]) -> None:
        nonlocal reported
        report.write(outcomes)
        done = [each for each in outcomes[reported:] if each.status != "not run" or each.error]
        for each in done:
            print(f"{each.status:8} {each.seconds:6.1f} s  {each.name}{each.error and ': '}{each.error}", flush=True)
        reported += len(done)

    with models_folder(flags.folder) as folder, ended_by_signals():
        bench = Bench(folder, out, smoke=flags.smoke, threads=flags.threads)
        try:
            outcomes = run_checks(
                checks, bench, flags.budget_s, write, planned=not flags.smoke, failed=lambda each: each.close()
            )
        finally:
            bench.close()
    print(f"{counted(outcomes)}; see {out / PAGE}")
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def select(words: Sequence[str]) -> list[Check]:
    """Return the checks whose name contains one of some words, and those that they need."""
    named = [check for check in CHECKS if any(word in check.name for word in words)]
    needed = {name for check in named for name in (check.name, *check.needs)}
    return [check for check in CHECKS if check.name in needed]


def arguments(description: str) -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="tiny models and few calls: every check in a few minutes")
    parser.add_argument("--budget-s", type=float, default=540, help="seconds for all checks (540)")
    parser.add_argument("--out", type=Path, help="folder for the results ($OUT, else the current one)")
    parser.add_argument("--folder", type=Path, help="folder for the models, which stay there (a temporary one)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads of a model (Octabox's default)")
    parser.add_argument("--only", action="append", metavar="WORD", help="only checks whose name contains this")
    return parser


@contextlib.contextmanager
def models_folder(folder: Path | None) -> Iterator[Path]:
    """Yield the folder for the models: the one that is given, else one that is gone afterwards."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as made:
            yield Path(made)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a signal that ends this process end the server and the temporary folder too."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
