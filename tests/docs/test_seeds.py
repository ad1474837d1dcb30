"""The page on the seed documents has each of their promises, with what serves it and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from code_blocks import ROOT
from named import is_there

PAGE = (ROOT / "docs" / "reference" / "seeds.md").read_text(encoding="utf-8")
DATA: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("seeds.yaml").read_text(encoding="utf-8"))

#: All promises by document and line, such as `000:7`.
PROMISES = {f"{doc}:{line}": text for doc, promises in DATA["promises"].items() for line, text in promises.items()}

#: A test as the page names it.
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

#: What a row says that serves the promise: a command, a route, a field, a function, a class or a file.
NAME = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A row of the page: the promise, the verdict, what serves it, and its tests."""

    promise: str
    verdict: str
    served_by: str
    shown_by: str


def rows(page: str) -> dict[str, Row]:
    """Return the rows of a page by the line of their promise."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `0")]
    return {line.strip("`"): Row(*rest) for line, *rest in cells}


def problems_of(page: str) -> list[str]:
    """Return what is wrong with a page, by the line of the promise."""
    found = rows(page)
    problems = [f"{line}: no row" for line in PROMISES if line not in found]
    unserved = {line: verdict for verdict, lines in DATA["open"].items() for line in lines}
    for line, row in found.items():
        if row.promise.replace('"', "'") != PROMISES.get(line):
            problems.append(f"{line}: another promise")
        if (row.verdict if row.verdict not in ("served", "differently") else None) != unserved.get(line):
            problems.append(f"{line}: another verdict")
        if not row.served_by:
            problems.append(f"{line}: nothing serves it")
        if line not in unserved and not TEST.search(row.shown_by):
            problems.append(f"{line}: no test")
        problems += [f"{line}: no `{name}`" for name in NAME.findall(row.served_by) if not is_there(name)]
        problems += [
            f"{line}: no {file}::{name}" for file, name in TEST.findall(row.shown_by) if not exists(file, name)
        ]
    return problems


def exists(file: str, name: str) -> bool:
    """Return whether a file has a test."""
    path = ROOT / file
    return path.is_file() and f"def {name}(" in path.read_text(encoding="utf-8")


def test_every_promise_has_its_row_and_its_tests() -> None:
    """Each promise is served by something that exists, as tests show, or is listed as open."""
    assert [] == problems_of(PAGE)


ROW = next(line for line in PAGE.splitlines() if line.startswith("| `000:13` "))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("", "000:13: no row"),
        (ROW.replace("_of_diffusers_is_known`", "_is_gone`"), "000:13: no tests/contracts/test_pipelines.py::"),
        (ROW.replace(ROW.split("|")[-2], " "), "000:13: no test"),
        (ROW.replace(ROW.split("|")[-3], " "), "000:13: nothing serves it"),
        (ROW.replace("| served |", "| planned |"), "000:13: another verdict"),
        (ROW.replace("all pipelines", "few pipelines"), "000:13: another promise"),
    ],
)
def test_a_row_that_is_wrong_is_found(change: str, problem: str) -> None:
    """A missing row, test, verdict or explanation is reported with its line."""
    found = set(problems_of(PAGE.replace(ROW, change))).difference(problems_of(PAGE))

    assert [problem] == [each[: len(problem)] for each in found]


@pytest.mark.parametrize(
    ("line", "name", "wrong"),
    [
        ("000:3", "octabox backend", "octabox backends"),
        ("003:7", "octabox serve --log-level debug", "octabox serve --loglevel debug"),
        ("003:138", "GET /v1/catalog/schedulers?model=", "GET /v1/schedulers?model="),
        ("003:138", "GET /v1/catalog/schedulers?model=", "GET /v1/catalog/schedulers?models="),
        ("002:113-120", "POST /v1/images/generations", "PUT /v1/images/generations"),
        ("002:113-120", "POST /v1/images/generations", "/v1/images/generations"),
        ("003:108-109", "adapters[].weight", "adapters[].scale"),
        ("003:37", "workflow.hires", "workflow.highres"),
        ("003:52", "compile_mode", "compile_modes"),
        ("003:53", "compile: whole", "compile: all"),
        ("003:124", "memory: sequential_cpu_offload", "memory: sequential_offload"),
        ("003:29", "scheduler: deis", "scheduler: dies"),
        ("003:126", "attention: sdp", "attention: spd"),
        ("000:97", "preset: wan", "preset: won"),
        ("000:24", "resolve_pipeline_class(class_name=)", "resolve_pipeline_class(name=)"),
        ("001:6", "get_task_aliases()", "get_aliases()"),
        ("000:21", "octabox.catalog.tasks", "octabox.catalog.task"),
        ("000:49", "octabox.resolve_pipeline_class", "octabox.resolve_class"),
        ("000:131", "backends/localai/test.sh", "backends/localai/tests.sh"),
        ("003:57", "HF_TOKEN", "HF_TOKENS"),
        ("003:87", "GatedModelError", "GatedError"),
        ("004:69", "DDPMPipeline", "DDPMPipelines"),
    ],
)
def test_a_name_of_nothing_is_found(line: str, name: str, wrong: str) -> None:
    """What a row names is looked for in the commands, the routes, the schemas and the package."""
    row = next(each for each in PAGE.splitlines() if each.startswith(f"| `{line}` "))
    assert f"`{name}`" in row

    assert [f"{line}: no `{wrong}`"] == problems_of(PAGE.replace(row, row.replace(f"`{name}`", f"`{wrong}`")))


def test_no_promise_is_taken_for_another() -> None:
    """Lines have one promise, or several with letters, so that a row of one document does not stand for one of another."""
    ranges = {line: [int(each) for each in re.findall(r"\d+", line.partition(":")[2])] for line in PROMISES}
    spans = {line: (line[:3], found[0], found[-1]) for line, found in ranges.items() if not line[-1].isalpha()}
    overlapping = [
        f"{line} and {other}"
        for line, (doc, first, last) in spans.items()
        for other, (other_doc, other_first, other_last) in spans.items()
        if line < other and doc == other_doc and first <= other_last and other_first <= last
    ]

    assert [] == overlapping
