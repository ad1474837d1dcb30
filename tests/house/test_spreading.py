"""Tests are spread over processes, and what they tell is told once."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spreading

GIB = 1 << 30

#: Each test tells in which process it ran; the first file of two tests holds until the second one has begun.
TEST = """
import os
import time
from pathlib import Path

import pytest
from summaries import TOLD

@pytest.mark.parametrize("number", [1, 2])
def test_it(number, record_property):
    mine, other = Path("{mine}"), Path("{other}")
    mine.touch()
    end = time.monotonic() + 30
    while not other.exists() and time.monotonic() < end:
        time.sleep(0.01)
    record_property(TOLD, ["where", f"{mine} {{number}} {{os.environ.get('PYTEST_XDIST_WORKER', 'here')}}"])
    record_property(TOLD, ["files", "{mine}"])
"""

CONFTEST = """
from spreading import Spreading
from summaries import Summaries

def pytest_configure(config):
    config.pluginmanager.register(Spreading())
    config.pluginmanager.register(Summaries())
"""


def run(folder: Path, *options: str) -> str:
    """Run two files of two tests each, and return what pytest prints."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(spreading.__file__).parent}\n", encoding="utf-8")
    for mine, other in (("one", "two"), ("two", "one")):
        text = TEST.format(mine=mine, other=other if "-n" in options else mine)
        (folder / f"test_{mine}.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("cores", "memory", "expected"),
    [
        (1, 64 * GIB, 0),
        (2, 16 * GIB, 3),
        (2, 6 * GIB, 2),
        (2, 6 * GIB - 1, 0),
        (4, 64 * GIB, 6),
        (16, 16 * GIB, 5),
        (64, 512 * GIB, spreading.MOST),
    ],
)
def test_a_machine_decides_how_many_processes_there_are(cores: int, memory: int, expected: int) -> None:
    """As many as it has cores and memory for, up to a limit; where that is one, no other is started."""
    assert expected == spreading.processes(cores, memory)


@pytest.mark.slow
def test_a_file_is_run_by_one_process(tmp_path: Path) -> None:
    """Two files are run at the same time, each whole by a process of its own."""
    told = run(tmp_path, "-n", "2", "--dist", "loadfile")
    where = dict(re.findall(r"^(\w+ \d) (gw\d)$", told, re.MULTILINE))

    assert 4 == len(where)
    assert where["one 1"] == where["one 2"] != where["two 1"] == where["two 2"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "loadfile")], ids=["one process", "two processes"])
def test_what_tests_tell_is_printed_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Each section stands at the end with each of its lines once, however many processes ran the tests."""
    told = run(tmp_path, *options)
    files = re.search(r"^=+ files =+\n(.*?)^=+ where =+$", told, re.MULTILINE | re.DOTALL)

    assert files
    assert ["one", "two"] == sorted(files[1].split())
    assert "4 passed" in told.splitlines()[-1]


def test_every_slow_pipeline_is_given_by_itself() -> None:
    """Where each test makes a model of its own, tests of one file go to any process; elsewhere a file stays together."""
    served = "tests/pipelines/test_served.py::test_a_pipeline_is_served[{}]"

    assert spreading.unit(served.format("A")) != spreading.unit(served.format("B"))
    assert "tests/e2e/test_failures.py" == spreading.unit("tests/e2e/test_failures.py::test_it[a::b]")


def test_what_the_lists_name_is_there() -> None:
    """What takes long is named by folders, files and tests that are there."""
    root = Path(spreading.__file__).parents[1]
    for each in {*spreading.FIRST, *spreading.ONE_BY_ONE}:
        path, _, test = each.partition("::")

        assert (root / path).exists(), path
        assert f"def {test}(" in (root / path).read_text("utf-8") if test else True, test


@pytest.mark.slow
def test_all_parts_together_are_all_tests(tmp_path: Path) -> None:
    """Each test is in one of the parts, over pipelines by itself, elsewhere with its whole file."""
    (tmp_path / "conftest.py").write_text((Path(spreading.__file__).parent / "conftest.py").read_text("utf-8"), "utf-8")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(spreading.__file__).parent}\n", "utf-8")
    numbers = "import pytest\n\n@pytest.mark.parametrize('number', range(7))\ndef test_it(number): pass\n"
    for name in ("pipelines", "e2e", "docs"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / f"test_{name}.py").write_text(numbers, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "--part"]
    told = [
        subprocess.run([*command, f"{number}/3"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for number in (3, 4, 5)
    ]
    pipelines = [line for text in told for line in text.splitlines() if "test_pipelines.py::" in line]

    assert [0, 0, 7] == sorted(text.count("test_e2e.py::") for text in told)
    assert [0, 0, 7] == sorted(text.count("test_docs.py::") for text in told)
    assert [2, 2, 3] == sorted(text.count("test_pipelines.py::") for text in told)
    assert sorted(f"tests/pipelines/test_pipelines.py::test_it[{number}]" for number in range(7)) == sorted(pipelines)


@pytest.mark.parametrize("text", ["", "3", "3/0", "a/b", "-1/4"])
def test_a_part_of_another_form_is_refused(text: str) -> None:
    """The message tells the form."""
    with pytest.raises(argparse.ArgumentTypeError, match="3/8"):
        spreading.part(text)
