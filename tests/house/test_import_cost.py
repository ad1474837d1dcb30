"""Starting is cheap: what needs no torch imports none."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Libraries that a worker alone imports.
HEAVY = ("torch", "diffusers", "transformers", "scipy")


def modules_after(code: str) -> set[str]:
    """Return the names of all top-level modules that a new process has imported after running some code."""
    script = f"{code}\nimport sys; print('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    "code",
    [
        "import octabox",
        "import octabox.cli.main",
        "import octabox.server",
        "import octabox.frontends.http.app",
        "import octabox.frontends.grpc.localai.listening",
        "import octabox.engine.local.engine",
        "from octabox.catalog.pipelines import load_catalog; load_catalog()",
        "from octabox.cli.main import cli; cli.main(['pipelines', '--json'], standalone_mode=False)",
    ],
)
def test_the_server_side_holds_no_torch(code: str) -> None:
    """Neither the command line nor the server imports torch, diffusers or transformers."""
    assert set() == modules_after(code) & set(HEAVY)


def test_help_needs_no_web_server() -> None:
    """The list of verbs imports no web framework and no verb."""
    loaded = modules_after("from octabox.cli.main import cli; cli.main(['--help'], standalone_mode=False)")

    assert set() == loaded & {"fastapi", "uvicorn", "pydantic", *HEAVY}
