"""The check of a release: what it finds, and that this release has nothing to be found."""

from __future__ import annotations

import gc
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import release_check
from release_check import Wheel

METADATA = """\
Metadata-Version: 2.4
Name: octabox
Version: 1.0
Summary: A server.
Keywords: images
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.10
Description-Content-Type: text/markdown
Classifier: Typing :: Typed
Classifier: Programming Language :: Python :: 3.10
Project-URL: Homepage, https://example.org
Project-URL: Documentation, https://example.org/docs
Project-URL: Changelog, https://example.org/changes
Project-URL: Issues, https://example.org/issues

"""

FILES = {
    "octabox/py.typed": "",
    "octabox/__init__.py": "",
    "octabox-1.0.dist-info/METADATA": METADATA,
    "octabox-1.0.dist-info/entry_points.txt": "[console_scripts]\noctabox = octabox.__main__:main\n[octabox.pipelines]\n",
    "octabox-1.0.dist-info/licenses/LICENSE": "",
}


def wheel(tmp_path: Path, files: dict[str, str]) -> Wheel:
    """Return a wheel with these files."""
    path = tmp_path / "octabox-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return Wheel(path)


def metadata(tmp_path: Path, old: str, new: str) -> Message:
    """Return the metadata of a wheel with a change."""
    return wheel(tmp_path, {**FILES, "octabox-1.0.dist-info/METADATA": METADATA.replace(old, new)}).metadata


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Project-URL: Issues, https://example.org/issues\n", "", "[project.urls] has no Issues."),
        (
            "https://example.org/docs",
            "http://example.org",
            "The address of Documentation is not https: http://example.org",
        ),
        ("Summary: A server.\n", "", "Summary is missing."),
        ("text/markdown", "text/plain", "The description is not Markdown."),
        ("\n\n", "\n\n![A](https://a.org/a.png) [b](docs/b.md)", "The description has a relative link"),
        ("Classifier: Typing :: Typed\n", "", "The classifier 'Typing :: Typed' is missing."),
        ("Python :: 3.10", "Python :: 3.11", "The classifier 'Programming Language :: Python :: 3.10' is missing."),
        ("Typing :: Typed", "Typing :: Typed\nClassifier: License :: Other", "A classifier names a license"),
        ("Metadata", "Metadata", ""),
    ],
)
def test_metadata(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """What is missing or wrong is named, and nothing else."""
    found = list(release_check.metadata_problems(metadata(tmp_path, old, new)))

    assert ([problem] if problem else []) == [each[: len(problem)] for each in found]


@pytest.mark.parametrize(
    ("removed", "added", "problem"),
    [
        ("octabox/__init__.py", "", "octabox/__init__.py is missing."),
        ("octabox/py.typed", "", "octabox/py.typed is missing."),
        ("", "tests/test_x.py", "tests/test_x.py does not belong into a wheel."),
        ("", "octabox/__pycache__/x.pyc", "octabox/__pycache__/x.pyc does not belong into a wheel."),
        ("octabox-1.0.dist-info/licenses/LICENSE", "", "The license file LICENSE is missing."),
        ("octabox-1.0.dist-info/entry_points.txt", "", "The entry point 'octabox = octabox.__main__:main' is missing."),
    ],
)
def test_contents(tmp_path: Path, removed: str, added: str, problem: str) -> None:
    """A missing file, a test and a missing licence are found."""
    files = {name: text for name, text in FILES.items() if name != removed} | ({added: ""} if added else {})
    found = list(release_check.content_problems(wheel(tmp_path, files), ["octabox/__init__.py"]))

    assert problem in found
    assert [] == list(release_check.content_problems(wheel(tmp_path, FILES), ["octabox/__init__.py"]))


def test_messages_name_nothing_of_the_repository() -> None:
    """Docstrings and comments may, unless they are the help of a command; messages of the package do not."""
    code = 'raise ValueError("Run `make demo`, see docs/guides/models.md")\nx = "make it so"\n'
    source = f'"""See docs/a.md."""\n# make docs\n{code}'

    assert [
        "octabox/x.py:3: 'make demo' is not part of the package.",
        "octabox/x.py:3: 'docs/guides/models.md' is not part of the package.",
    ] == list(release_check.text_problems({"octabox/x.py": source}))
    help_text = '"""Start it by tools/a.sh; see https://example.org/docs/a.md."""'
    found = list(release_check.text_problems({"octabox/cli/x.py": help_text}))
    assert ["octabox/cli/x.py:1: 'tools/a.sh' is not part of the package."] == found
    # What other tests have left may warn with a traceback, which parses code too; Python 3.11 cannot do both at once.
    gc.collect()
    package = Path(release_check.ROOT / "src" / "octabox")
    sources = {str(file): file.read_text(encoding="utf-8") for file in package.rglob("*.py")}
    assert [] == list(release_check.text_problems(sources))


def test_a_tag_is_that_of_the_version() -> None:
    """Another version and a missing section of the changelog are found; without a tag there is nothing to compare."""
    assert [] == list(release_check.version_problems("9.9.9", ""))
    assert 2 == len(list(release_check.version_problems("9.9.9", "v9.9.8")))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_this_release_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sdist and the wheel are built, and the wheel makes an image in a new environment outside of the repository."""
    code = release_check.main(["--keep", str(tmp_path / "dist")])

    assert 0 == code, capsys.readouterr().out
    assert {".whl", ".gz"} == {file.suffix for file in (tmp_path / "dist").iterdir()}
