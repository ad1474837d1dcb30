"""The project's commands are in one place, and CI uses no others."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_ci_calls_make_and_nothing_else() -> None:
    """Every command of CI is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert commands
    assert {"make"} == {command.split()[0] for command in commands}
    assert {command.split()[1] for command in commands} <= targets


def test_ci_runs_each_test_once() -> None:
    """CI runs the tests, and of those that take long the ones that it has time for; none of them twice."""
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert [["make", "test"], ["make", "test-slow"]] == [
        each.split()[:2] for each in commands if each.startswith(("make test", "make check"))
    ]


def test_every_test_is_run_by_a_command() -> None:
    """A marker that tests have and that is deselected by default is selected by a target, which CONTRIBUTING describes."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    deselected = re.findall(r"not (\w+)", re.findall(r"^addopts = .*-m '([^']+)'", project, re.MULTILINE)[0])
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")]
    used = {marker for marker in deselected if any(f"pytest.mark.{marker}\n" in source for source in sources)}
    described = {
        marker
        for target, recipe in re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        for marker in re.findall(r'-m "?(\w+)(?: and [\w ]+")? \$\(PYTEST\)', recipe)
        if f"| `make {target}` |" in contributing
    }

    assert {"network", "slow"} <= used <= described


def test_help_tells_every_command() -> None:
    """Each target that a person would call stands in the list, with its words."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert phony
    assert phony[1].split() == re.findall(r"^  make ([a-z-]+) +[A-Z].*\.$", told, re.MULTILINE)


def test_the_first_image_tells_what_it_waits_for() -> None:
    """Before each of the three waits there is a line: the packages, the first import, the image."""
    command = ["make", "--dry-run", "--what-if=pyproject.toml", "demo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    steps = [
        re.search(rf'echo "{number}/3 .*{word}', done) for number, word in ((1, "Torch"), (2, "imports"), (3, "image"))
    ]
    commands = [re.search(command, done) for command in (r"pip .*install", r"octabox run demo")]

    assert [] == [step for step in [*steps, *commands] if step is None]
    assert done.index("1/3") < done.index(" install --constraint") < done.index("2/3") < done.index("octabox run demo")


def test_an_installed_torch_stays() -> None:
    """For the commands of users; those of development have the tested versions alone."""
    demo, test = (
        subprocess.run(
            ["make", "--dry-run", "--what-if=pyproject.toml", target],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for target in ("demo", "test")
    )

    assert demo.index("tools/tested_versions.py > .venv/constraints.txt") < demo.index(
        "--constraint .venv/constraints.txt"
    )
    assert "--constraint constraints.txt" in test
    assert "tested_versions" not in test


def test_what_is_needed_is_constrained() -> None:
    """Every dependency has a tested version in the constraints."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {name.lower().replace("_", "-") for name in re.findall(r'^    "([A-Za-z0-9_-]+)>=', project, re.MULTILINE)}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tested = {line.partition("==")[0].lower().replace("_", "-") for line in constraints.splitlines()}

    assert set() == needed - tested


def test_the_protocols_need_no_extra() -> None:
    """Both servers, that of HTTP and that of gRPC, run with what is always installed."""
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    always = re.findall(r"^dependencies = \[\n(.*?)^\]", metadata, re.MULTILINE | re.DOTALL)[0]

    assert {"fastapi", "uvicorn", "grpcio", "protobuf"} <= set(re.findall(r'^    "([a-z]+)', always, re.MULTILINE))


def test_hooks_call_make_and_nothing_else() -> None:
    """Every hook of pre-commit is a target of the Makefile."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    entries = {hook["entry"] for repository in hooks for hook in repository["hooks"]}

    assert ["local"] == [repository["repo"] for repository in hooks]
    assert {"make style", "make lint"} == entries
    assert {entry.removeprefix("make ") for entry in entries} <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_types_are_checked_for_the_oldest_and_the_newest_python() -> None:
    """These are the first and the last version among the classifiers, and the first is the one that is required."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    versions = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)

    assert f'requires-python = ">={versions[0]}"' in project
    assert f'python_version = "{versions[0]}"' in project
    assert f"mypy --python-version {versions[-1]}\n" in makefile


def test_fragments_have_a_known_type() -> None:
    """Towncrier skips a file whose name it does not know."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    types = set(re.findall(r'^directory = "(\w+)"$', project.partition("[[tool.towncrier.type]]")[2], re.MULTILINE))
    names = [file.name for file in (ROOT / "changelog.d").iterdir() if file.name != "README.md"]
    suffixes = {tuple(name.rsplit(".", 2)[1:]) for name in names}

    assert suffixes <= {(each, "md") for each in types}


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.stem
)
def test_issue_forms_are_valid(form: Path) -> None:
    """Each field of a form has a type, a label and a name that is used once."""
    fields = yaml.safe_load(form.read_text(encoding="utf-8")).get("body", [])

    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["type"] in {"input", "textarea"} and field["attributes"]["label"] for field in fields)
