"""The documentation site is complete, and its pages match the code."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import octabox
from code_blocks import ROOT
from document_packages import PAGE, document_packages
from document_tables import MODELS, generated
from site_pages import site_text

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

#: Words that the pages do not use; CLIP is an encoder, and `clip_skip` a parameter.
REFUSED = re.compile(
    r"\b([Pp]ictures?|[Cc]lips?|[Ss]ounds?|[Ss]teer\w*|[Tt]old|[Ss]aid|who[e]ver|[Mm]end(ed|s)?|by lot)\b"
)


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """MkDocs finds no broken link or anchor, and no page outside of the navigation."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "contributing" / "index.html").is_file()


def test_the_page_of_packages_is_that_of_the_source() -> None:
    """Each package is there, with its docstring; `make docs` writes it."""
    assert document_packages() == PAGE.read_text(encoding="utf-8")


def test_links_of_top_level_pages_are_those_of_the_site() -> None:
    """A link into docs and a link to another top-level page work on the site."""
    assert "[a](why.md) [b](security.md)" == site_text("[a](docs/why.md) [b](SECURITY.md)")


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=lambda p: p.name
)
def test_links_of_top_level_pages_exist(page: Path) -> None:
    """Each relative link leads to a file of the repository."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [] == [link for link in links if "://" not in link and not (ROOT / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_pages_use_the_vocabulary(page: Path) -> None:
    """Outside of code, a page uses the words of the field."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert [] == [found[0] for found in REFUSED.finditer(text)]


@pytest.mark.parametrize("page", sorted((DOCS / "adr").glob("0*.md")), ids=lambda page: page.stem)
def test_a_decision_has_status_and_date(page: Path) -> None:
    """Each record has its status and date, its three sections, and a row in the overview."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r"^# (\d+)\. (.+)\n\nStatus: (accepted|superseded by .+)\. Date: (\d{4}-\d\d-\d\d)\n", text)

    assert found
    assert [] == [name for name in ("Context", "Decision", "Consequences") if f"\n## {name}\n" not in text]
    row = f"| [{found[1]}]({page.name}) | {found[2]} | {found[3]} | {found[4]} |"
    assert row in (DOCS / "adr" / "index.md").read_text(encoding="utf-8").splitlines()


def test_the_library_page_has_every_public_function() -> None:
    """Each public name has a section with its signature."""
    page = (DOCS / "reference" / "library.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## `(\w+)`\n\n`(.+)`$", page, re.MULTILINE)
    signatures = {name: f"{name}{inspect.signature(getattr(octabox, name))}" for name in octabox.__all__}

    assert {name: text.replace("'", "") for name, text in signatures.items()} == dict(sections)


def test_tables_of_settings_are_generated() -> None:
    """The marked tables equal the output of `make docs`, and each model has one."""
    pages = {page: page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")}
    marked = re.findall(r"<!-- generated: (\w+) -->", "".join(pages.values()))

    assert sorted(MODELS) == sorted(marked)
    assert [] == [page.name for page, text in pages.items() if generated(text) != text], "run `make docs`"
