"""Clients are told the place of a file in the server's folders, and not where these are."""

from __future__ import annotations

import contextvars
from pathlib import Path

import pytest

from fakes import Server
from octabox.errors import IncompatibleWeightsError
from octabox.security.private_folders import hide_folders, private_folders, use_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{root}/models/x/unet has no config.json.", "x/unet has no config.json."),
        ("{root}/models/loras/a.pt is damaged.", "a.pt is damaged."),
        ("There is none in {root}/models/loras.", "There is none in loras."),
        ("{root}/other/x is another folder.", "{root}/other/x is another folder."),
        ("See /v1/models.", "See /v1/models."),
    ],
)
def test_paths_in_the_folders_of_a_server(tmp_path: Path, text: str, expected: str) -> None:
    """They are relative to the innermost of them; other texts are as they were."""

    def hidden() -> str:
        use_folders(private_folders([tmp_path / "models", tmp_path / "models/loras", Path("/")]))
        return hide_folders(text.format(root=tmp_path))

    assert expected.format(root=tmp_path) == contextvars.copy_context().run(hidden)
    assert text == hide_folders(text)


def test_a_folder_behind_a_link(tmp_path: Path) -> None:
    """By both of its paths."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert {str(tmp_path / "real"), str(tmp_path / "link")} == {*private_folders([tmp_path / "link"])}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"model": "demo", "prompt": "a cat"}),
        ("/v1/generations", {"model": "demo", "params": {"prompt": "a cat"}}),
        ("/v1/jobs", {"model": "demo", "params": {"prompt": "a cat"}}),
        ("/sdapi/v1/txt2img", {"prompt": "a cat"}),
        ("/v1/images/generations", {"model": "demo", "prompt": "a cat", "stream": True}),
    ],
)
async def test_errors_of_every_protocol(tmp_path: Path, path: str, body: dict[str, object]) -> None:
    """The message and the hint."""
    server = Server(models=tmp_path, a1111=True)
    place = tmp_path / "x" / "unet"
    server.generations.error = IncompatibleWeightsError(f"{place} is empty.", hint=f"Delete {place}.")
    answer = await server.http.post(path, json=body)

    assert 400 <= answer.status_code
    assert str(tmp_path) not in answer.text
    assert "x/unet is empty." in answer.text
