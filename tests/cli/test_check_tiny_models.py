"""No tiny model is reported by `octabox check`: each of them is loaded and run by tests/pipelines/test_served.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from makers import pipelines
from octabox.cli.check import command

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", pipelines())
def test_a_model_that_runs_is_ok(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as diffusers saves it has neither errors nor warnings."""
    if missing := pipelines()[name].missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    pipelines()[name].make().save_pretrained(str(tmp_path / "models" / name))
    result = CliRunner().invoke(command, ["models"])

    assert [f"models/{name}: OK ({name})", "1 file, 1 model: 0 errors, 0 warnings."] == result.output.splitlines()
    assert 0 == result.exit_code
