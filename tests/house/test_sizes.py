"""The house stays easy to read: files and folders have a size, names a meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "octabox"
FILES = sorted(SOURCE.rglob("*.py"))

#: Scripts and styles of the web page; what is vendored is written elsewhere.
PAGE_FILES = sorted(
    path
    for path in SOURCE.rglob("*")
    if path.suffix in (".js", ".css") and "vendor" not in path.relative_to(SOURCE).parts
)

#: Names that say nothing about what is in a file.
EMPTY_NAMES = {"utils", "helpers", "common", "base", "misc", "manager", "processor", "handler", "core", "data"}

#: Classes of diffusers that other classes are told from: their names are no knowledge about a model.
BASES = {"DiffusionPipeline", "ModularPipeline", "SchedulerMixin", "ModelMixin", "DeprecatedPipelineMixin"}

#: Names of classes of diffusers, as they would stand in code that knows one of them.
CLASS_NAME = re.compile(r"\b[A-Z]\w*(?:Pipeline|Scheduler|Transformer[23]DModel)\b")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_has_one_subject(file: Path) -> None:
    """A file of code has at most 300 lines, its classes at most 150 and its functions at most 50."""
    text = file.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    limits = ((ast.ClassDef, 150), (ast.FunctionDef, 50), (ast.AsyncFunctionDef, 50))
    long = {
        node.name
        for kind, limit in limits
        for node in nodes
        if isinstance(node, kind) and node.end_lineno and node.end_lineno - node.lineno > limit
    }

    assert len(text.splitlines()) <= 300
    assert set() == long


@pytest.mark.parametrize("file", PAGE_FILES, ids=lambda file: file.name)
def test_a_script_has_one_subject(file: Path) -> None:
    """A script of the web page, and its styles, have at most as many lines as a file of code."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=lambda folder: folder.name)
def test_a_folder_can_be_seen_at_a_glance(folder: Path) -> None:
    """A folder has at most a dozen files of code besides its `__init__.py`; the verbs of the command line are a list."""
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]

    assert len(files) <= (21 if folder.name == "cli" else 12)


def test_no_file_has_an_empty_name() -> None:
    """A file is named after its subject."""
    assert [] == [file for file in FILES if file.stem in EMPTY_NAMES]


def strings_and_names(file: Path) -> Iterator[str]:
    """Yield all names and texts of a file's code, docstrings left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(part) for node in ast.walk(tree) if isinstance(node, documented) for part in docstring_of(node.body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def docstring_of(body: list[ast.stmt]) -> list[ast.expr]:
    """Return the docstring that a body begins with."""
    first = body[0] if body else None
    return [first.value] if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else []


def test_no_pipeline_is_known_by_name() -> None:
    """No class of diffusers is named in the code, but for the bases that all others are told from."""
    named = {
        (str(file.relative_to(SOURCE)), name)
        for file in FILES
        for text in strings_and_names(file)
        for name in CLASS_NAME.findall(text)
        if name not in BASES
    }

    assert set() == named
