"""Read a Dockerfile, and run its steps without Docker: in a folder, with the packages of this environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

#: Commands that need root; they do nothing here.
ROOT_COMMANDS = ("chown", "useradd")

#: Absolute paths of an image that a folder stands for.
PATHS = re.compile(r"(?<![\w.:/])/(build|cache|data|models|opt)\b")


#: Seconds that a step may take. None downloads what is large, since the packages of this environment are used.
STEP_TIMEOUT = 280


class Step(NamedTuple):
    """An instruction of a Dockerfile, such as `RUN`, with its arguments as one line."""

    name: str
    text: str


def read_steps(file: Path) -> list[Step]:
    """Return the instructions of a Dockerfile."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [Step(name, re.sub(r"\s+", " ", rest)) for name, rest in pairs]


def share_packages(packages: Path) -> None:
    """Let a new virtual environment use the packages of this one.

    Before Python 3.12 it has setuptools, which is older than torch needs and hides that of this environment.

    Args:
        packages: Its folder of packages.
    """
    (packages / "environment.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    for folder in packages.glob("setuptools*"):
        shutil.rmtree(folder)


def assignments(text: str) -> dict[str, str]:
    """Return the variables of an ENV instruction."""
    return dict(word.split("=", 1) for word in text.split())


class Image:
    """The steps of a Dockerfile, run in a folder.

    Args:
        file: The Dockerfile.
        context: Folder that COPY reads.
        root: Folder that stands for the root folder of the image.
    """

    def __init__(self, file: Path, context: Path, root: Path) -> None:
        self._steps, self._context, self._root = read_steps(file), context, root
        self._folder = root
        self.variables = {"PATH": f"{root}/commands:{os.environ['PATH']}", "HOME": str(root)}

    def build(self, **arguments: str) -> None:
        """Run all steps that build the image; a new virtual environment sees the packages of this one.

        Args:
            **arguments: Arguments of the build that differ from their defaults.
        """
        (self._root / "commands").mkdir(parents=True)
        for name in ROOT_COMMANDS:
            (self._root / "commands" / name).symlink_to("/bin/true")
        (self._root / "commands" / "python").symlink_to(sys.executable)
        for step in self._steps:
            if step.name == "ARG":
                name, _, default = step.text.partition("=")
                self.variables[name] = arguments.get(name, default.strip('"'))
            elif step.name == "ENV":
                for name, value in assignments(step.text).items():
                    self.variables[name] = self._here(value).replace("$PATH", self.variables["PATH"])
            elif step.name == "WORKDIR":
                self._folder = Path(self._here(step.text))
                self._folder.mkdir(parents=True, exist_ok=True)
            elif step.name == "COPY" and "--from=" not in step.text:
                self._copy(*step.text.split())
            elif step.name == "RUN":
                self.run(["sh", "-ec", self._here(step.text)])
                for packages in self._root.glob("opt/*/lib/python*/site-packages"):
                    share_packages(packages)

    def run(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image."""
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_TIMEOUT,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a process in the image."""
        # Pip takes the settings of this machine, such as a mirror of the package index.
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "XDG_"))}
        return {**pip, **self.variables, **variables}

    def command(self, name: str) -> list[str]:
        """Return the command of an instruction in JSON, such as CMD."""
        text = next(step.text for step in self._steps if step.name == name)
        words: list[str] = json.loads(text[text.index("[") :])
        return words

    def _here(self, text: str) -> str:
        return PATHS.sub(lambda found: f"{self._root}{found[0]}", text)

    def _copy(self, *words: str) -> None:
        *sources, target = words
        for name in sources:
            source, place = self._context / name, self._folder / target
            if target.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, place)
