"""The folder and the names of sockets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from octabox.cli.resident.runtime import code_stamp, runtime_folder, socket_path


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an own runtime folder, and work in an own folder."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("octabox.cli.resident.runtime.MAX_PATH", 4096)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_is_private(runtime: Path) -> None:
    """It is created for its owner alone."""
    folder = runtime_folder()

    assert runtime / "octabox" == folder
    assert 0o700 == folder.stat().st_mode & 0o777


def test_a_folder_that_others_can_enter_is_not_used(runtime: Path) -> None:
    """Nor is a link, which may lead to the folder of another user."""
    (runtime / "octabox").mkdir(mode=0o755)
    assert runtime_folder() is None

    (runtime / "octabox").rmdir()
    (runtime / "private").mkdir(mode=0o700)
    (runtime / "octabox").symlink_to(runtime / "private")
    assert runtime_folder() is None


def test_what_changes_a_result_changes_the_socket(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of models, the environment, the settings file, and the code."""
    paths = [socket_path(runtime, None), socket_path(runtime, Path("models"))]
    monkeypatch.setenv("OCTABOX_DEVICE", "cpu")
    paths.append(socket_path(runtime, None))
    (runtime / "octabox.yaml").write_text("threads: 1\n")
    paths.append(socket_path(runtime, None))
    monkeypatch.setattr("octabox.cli.resident.runtime.code_stamp", lambda: [*code_stamp(), 1])
    paths.append(socket_path(runtime, None))

    assert len(paths) == len(set(paths))
    assert socket_path(runtime, None) == paths[-1]


@pytest.mark.parametrize("name", ["https_proxy", "NO_PROXY", "all_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_how_the_hub_is_reached_changes_the_socket(name: str, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in lower case, too; a variable that no server reads does not."""
    monkeypatch.delenv(name, raising=False)
    before = socket_path(runtime, None)
    monkeypatch.setenv("NO_VARIABLE_OF_A_SERVER", "1")
    assert before == socket_path(runtime, None)
    monkeypatch.setenv(name, "elsewhere")
    assert before != socket_path(runtime, None)


def test_a_client_imports_little() -> None:
    """What a client of a server imports: neither torch nor diffusers, nor what takes as long as a small image."""
    program = """
import sys
import octabox.cli.main, octabox.cli.run, octabox.cli.output
import octabox.cli.resident.selection, octabox.cli.terminal.display, octabox.cli.requests.run_options
import octabox.frontends.naming.parameters
print(*{name.partition(".")[0] for name in sys.modules})
"""
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    heavy = {"torch", "diffusers", "transformers", "numpy", "PIL", "pydantic", "fastapi", "starlette", "httpx", "rich"}
    assert set() == heavy & set(modules)
