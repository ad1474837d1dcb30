"""What is wrong with a request is known before its model is downloaded: the index of the model is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.cli.main import cli
from octabox.errors import ForbiddenPathError, InvalidParameterError, OctaboxError, UnknownParameterError

#: The files that tell what a model is.
DESCRIPTIONS = (".json", ".txt", ".md")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("-o", "nofolder/x.png"), ForbiddenPathError),
        (("-p", "stepz=4"), UnknownParameterError),
        (("-n", "2", "-o", "-"), InvalidParameterError),
        (("--scheduler", "nosuch"), OctaboxError),
    ],
)
def test_an_invalid_request_downloads_no_weights(
    local_hub: LocalHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    error: type[OctaboxError],
) -> None:
    """Neither with a file that cannot be written nor with a parameter that the pipeline does not have."""
    monkeypatch.chdir(tmp_path)
    local_hub.add("org/shapes", folder_files(demo.FOLDER))
    result = CliRunner().invoke(cli, ["run", "org/shapes", "a star", "--local", *words])

    assert isinstance(result.exception, error), result.exception
    assert [] == [path for path in local_hub.downloads() if not path.endswith(DESCRIPTIONS)]
