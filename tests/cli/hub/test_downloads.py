"""The plan and the progress of a download on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.cli.hub.downloads import _columns, download_model
from octabox.cli.requests.pull_plans import summarize_plan
from octabox.config.settings import Settings
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.snapshots import find_snapshot
from octabox.server import build


@pytest.mark.parametrize("width", [40, 80, 130])
def test_a_progress_bar_takes_one_line(width: int) -> None:
    """A narrow terminal has less of it, and a long name is cut."""
    console = Console(file=io.StringIO(), width=width)
    bar = Progress(*_columns(width), console=console)
    bar.add_task(
        "stabilityai/stable-diffusion-xl-base-1.0", total=13 * 10**9, completed=4 * 10**9, note="3 of 19 files"
    )
    console.print(bar.get_renderable())
    shown = console.file.getvalue()  # type: ignore[attr-defined] # a StringIO

    assert 1 == len(shown.rstrip("\n").splitlines())
    assert "stabilityai/" in shown
    assert ("30.8%" in shown or "31%" in shown) == (width == 40)
    assert ("of 19 files" in shown) == (width == 130)


def test_names_of_files_are_shown_without_control_characters(local_hub: LocalHub) -> None:
    """A repository may name its files as it likes."""
    local_hub.add("org/odd", {"a\x1b]0;title\x07.gguf": b"x"})
    lines = [*summarize_plan(make_plan(PullRequest("org/odd")), files=True)]

    assert "a\ufffd]0;title\ufffd.gguf" in lines[1]
    assert not any("\x1b" in line for line in lines)


async def test_a_model_is_downloaded_with_its_plan(
    local_hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for `octabox convert` and `bench`, which need all of it; a complete model shows nothing."""
    local_hub.add("org/shapes", folder_files(demo.FOLDER))
    parts = build(Settings.load({"models": tmp_path, "allow_hub": True, "log_level": "error"}), model="org/shapes")
    await download_model(parts)
    first = capsys.readouterr().err
    await download_model(parts)

    assert "To download: 13" in first
    assert find_snapshot("org/shapes") is not None
    assert "" == capsys.readouterr().err
