"""Seed each fault of tests/house/mutations.yaml into a copy of the source, and print which test finds it.

    python tools/check_mutations.py [WORDS OF A NAME ...]

Exits with 1 if the tests pass with one of the faults.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]

#: The faults, and the folders that their paths begin in.
MUTATIONS, SOURCE, TESTS = ROOT / "tests/house/mutations.yaml", ROOT / "src/octabox", ROOT / "tests"


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Args:
        name: What is wrong with it.
        file: File of the source.
        before: Text that is in the file once.
        after: Text that takes its place.
        tests: Files and folders of tests, one of which must fail.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def seed(self, source: Path) -> None:
        """Seed the fault into a copy of the source."""
        file = source / self.file
        text = file.read_text(encoding="utf-8")
        assert text.count(self.before) == 1, f"{self.name}: {self.before!r} is not once in {self.file}"
        file.write_text(text.replace(self.before, self.after), encoding="utf-8")


def read_mutations() -> Iterator[Mutation]:
    """Yield the listed faults."""
    for each in yaml.safe_load(MUTATIONS.read_text(encoding="utf-8")):
        yield Mutation(each["name"], each["file"], each["from"], each["to"], tuple(each["tests"]))


def killed_by(mutation: Mutation) -> str | None:
    """Return the first test that fails with a fault; None if none does."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "octabox"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        mutation.seed(copy)
        options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--timeout", "120"]
        command = [sys.executable, "-m", "pytest", *options, "-m", "not network"]
        done = subprocess.run(
            [*command, *(str(TESTS / each) for each in mutation.tests)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert found, f"{mutation.name}: the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return found[1]


def main(words: Sequence[str]) -> int:
    """Check the faults whose names contain all words; return the exit status."""
    survived = 0
    for mutation in read_mutations():
        if not all(word in mutation.name for word in words):
            continue
        killer = killed_by(mutation)
        survived += killer is None
        print(
            f"{'killed  ' if killer else 'SURVIVED'}  {mutation.name}: {killer or ', '.join(mutation.tests)}",
            flush=True,
        )
    return min(survived, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
