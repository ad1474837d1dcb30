"""Check a release: build it, install it in a new environment, make an image with it, and check what is in it.

Run it as `make release-check`. The wheel is built from the sdist, so that both are complete. The new environment sees the
packages of this one, which takes no download; `--download` installs the dependencies into it. A build needs the package index.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Labels of the addresses that the metadata have.
URLS = {"Homepage", "Documentation", "Changelog", "Issues"}

#: Start of a PNG file.
PNG = b"\x89PNG\r\n\x1a\n"

#: What exists in the repository and not in an installed package: files, and the commands of the Makefile.
TARGETS = "|".join(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
REPOSITORY = re.compile(
    rf"(?<![\w/])(?:backends|benchmarks|deploy|docs|examples|tests|tools)/[\w./-]*\.\w+|\bmake (?:{TARGETS})\b"
)

#: A link or an image in Markdown whose target is no address.
RELATIVE_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s]+)")

#: Folder of the package whose docstrings are shown, as the help of its commands.
COMMANDS = "octabox/cli/"


class Wheel:
    """A built wheel.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as file:
            self.names = sorted(file.namelist())
            self._texts = {
                name: file.read(name).decode() for name in self.names if name.endswith((".py", "METADATA", ".txt"))
            }

    @property
    def metadata(self) -> Message:
        """The metadata of the package."""
        return Parser().parsestr(next(text for name, text in self._texts.items() if name.endswith("/METADATA")))

    @property
    def entry_points(self) -> str:
        """The entry points as text."""
        return next((text for name, text in self._texts.items() if name.endswith("/entry_points.txt")), "")

    @property
    def sources(self) -> dict[str, str]:
        """The source files by name."""
        return {name: text for name, text in self._texts.items() if name.endswith(".py")}


def build(out: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist, by the backend that pyproject.toml names."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    requirements = re.findall(r'"([^"]+)"', _search(r"^requires = \[(.+)\]$", project))
    backend = _search(r'^build-backend = "(.+)"$', project)
    python = new_environment(out / "build")
    run([python, "-m", "pip", "install", "--quiet", *requirements], out)
    built = []
    folder = ROOT
    for kind in ("sdist", "wheel"):
        code = f"import {backend} as backend; print(backend.build_{kind}({str(out)!r}))"
        built.append(out / run([python, "-c", code], folder).split()[-1])
        if kind == "sdist":
            with tarfile.open(built[0]) as file:
                file.extractall(out / "source", filter="data")
            (folder,) = (out / "source").iterdir()
    return built[0], built[1]


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"pyproject.toml has no line like {pattern}"
    return found[1]


def new_environment(folder: Path) -> Path:
    """Create a virtual environment and return its interpreter."""
    run([Path(sys.executable), "-m", "venv", folder], folder.parent)
    return folder / "bin" / "python"


def install(wheel: Path, folder: Path, *, download: bool) -> Path:
    """Install a wheel into a new environment and return the folder of its commands."""
    python = new_environment(folder)
    if download:
        run([python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel], folder)
    else:
        packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
        (packages / "environment.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
        run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", wheel], folder)
    return python.parent


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command without this environment's variables for Python, and return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OCTABOX_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def metadata_problems(metadata: Message) -> Iterator[str]:
    """Yield what is wrong with the metadata of a package."""
    urls = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    yield from (f"[project.urls] has no {label}." for label in sorted(URLS - urls.keys()))
    yield from (
        f"The address of {label} is not https: {url}" for label, url in urls.items() if not url.startswith("https://")
    )
    yield from (
        f"{field} is missing." for field in ("Summary", "Keywords", "License-Expression") if not metadata[field]
    )
    if metadata["Description-Content-Type"] != "text/markdown":
        yield "The description is not Markdown."
    for target in RELATIVE_LINK.findall(str(metadata.get_payload())):
        yield f"The description has a relative link, which the package index cannot follow: {target}"
    classifiers = metadata.get_all("Classifier", [])
    oldest = str(metadata["Requires-Python"]).removeprefix(">=")
    needed = {"Typing :: Typed", f"Programming Language :: Python :: {oldest}"}
    yield from (f"The classifier '{each}' is missing." for each in sorted(needed.difference(classifiers)))
    if any(each.startswith("License ::") for each in classifiers):
        yield "A classifier names a license, which License-Expression does."


def content_problems(wheel: Wheel, tracked: list[str]) -> Iterator[str]:
    """Yield what is missing in a wheel, and what should not be in it.

    Args:
        wheel: The wheel.
        tracked: Files of the package in the repository, relative to `src`.
    """
    yield from (f"{name} is missing." for name in sorted({*tracked, "octabox/py.typed"}.difference(wheel.names)))
    own = ("octabox/", "octabox-")
    yield from (
        f"{name} does not belong into a wheel."
        for name in wheel.names
        if not name.startswith(own) or "__pycache__" in name
    )
    licenses = [name.partition(".dist-info/licenses/")[2] for name in wheel.names if ".dist-info/licenses/" in name]
    yield from (
        f"The license file {name} is missing."
        for name in wheel.metadata.get_all("License-File", [])
        if name not in licenses
    )
    if "LICENSE" not in licenses:
        yield "The license is missing."
    for line in ("octabox = octabox.__main__:main", "[octabox.pipelines]"):
        if line not in wheel.entry_points:
            yield f"The entry point '{line}' is missing."


def text_problems(sources: dict[str, str]) -> Iterator[str]:
    """Yield the messages of a package that name what is in the repository alone."""
    for name, source in sources.items():
        tree = ast.parse(source)
        shown = COMMANDS in Path(name).as_posix()
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and not shown}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                for found in REPOSITORY.finditer(node.value):
                    yield f"{name}:{node.lineno}: '{found[0]}' is not part of the package."


def image_problems(commands: Path, folder: Path) -> Iterator[str]:
    """Yield what goes wrong with the first image, outside of the repository."""
    where = Path(run([commands / "python", "-c", "import octabox; print(octabox.__file__)"], folder).strip())
    if commands.parent not in where.parents:
        yield f"octabox is imported from {where}."
    run(
        [
            commands / "octabox",
            "run",
            "demo",
            "a large yellow star on a blue background",
            "--seed",
            "1",
            "-o",
            "star.png",
            "--local",  # A server in the background would outlive the environment.
        ],
        folder,
    )
    if not (folder / "star.png").read_bytes().startswith(PNG):
        yield "The first image is not a PNG file."


def check(title: str, problems: Callable[[], Iterator[str]]) -> bool:
    """Print the problems that a check finds, and return whether there are none."""
    print(f"{title} ... ", end="", flush=True)
    start = time.monotonic()
    found = list(problems())
    print("failed" if found else "ok", f"({time.monotonic() - start:.0f} s)")
    for problem in found:
        print(f"  {problem}")
    return not found


def main(arguments: list[str] | None = None) -> int:
    """Run all checks and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--download", action="store_true", help="Install the dependencies into the new environment.")
    parser.add_argument("--tag", default="", help="Tag of the release, such as v1.2.0, which the version has to equal.")
    parser.add_argument("--keep", type=Path, help="Folder that the wheel and the sdist are written into.")
    options = parser.parse_args(arguments)
    tracked = run(["git", "ls-files", "octabox"], ROOT / "src").splitlines()
    with tempfile.TemporaryDirectory(prefix="octabox-release-") as name:
        folder = Path(name)
        print("Building the sdist and the wheel ...", flush=True)
        sdist, path = build(folder)
        print("Installing the wheel into a new environment ...", flush=True)
        commands = install(path, folder / "environment", download=options.download)
        (folder / "empty").mkdir()
        wheel = Wheel(path)
        results = [
            check("Metadata", lambda: metadata_problems(wheel.metadata)),
            check("Contents", lambda: content_problems(wheel, tracked)),
            check("Messages", lambda: text_problems(wheel.sources)),
            check("Version", lambda: version_problems(str(wheel.metadata["Version"]), options.tag)),
            check("First image", lambda: image_problems(commands, folder / "empty")),
        ]
        if options.keep and all(results):
            options.keep.mkdir(parents=True, exist_ok=True)
            for file in (sdist, path):
                (options.keep / file.name).write_bytes(file.read_bytes())
    return 0 if all(results) else 1


def version_problems(version: str, tag: str) -> Iterator[str]:
    """Yield what is wrong with the version of a tagged release; nothing without a tag."""
    if tag and tag.removeprefix("v") != version:
        yield f"The tag is {tag}, and the version {version}."
    if tag and f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        yield f"CHANGELOG.md has no section {version}. Run: make changelog VERSION={version}"


if __name__ == "__main__":
    sys.exit(main())
