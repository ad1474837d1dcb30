"""Images in the terminal."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from octabox.cli.terminal import preview
from octabox.types import Artifact


def image(size: int = 64) -> Artifact:
    """Return an image with noise, which compresses badly."""
    content = io.BytesIO()
    Image.effect_noise((size, size), 90).save(content, "png")
    return Artifact("image", "image/png", content.getvalue())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, preview.encode_kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, preview.encode_iterm2),
        ({"TERM": "foot"}, preview.encode_sixel),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, None),
    ],
)
def test_the_protocol_follows_from_the_terminal(
    environ: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None in others, in multiplexers, with `NO_COLOR`, and in pipes."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert expected is preview.find_protocol(environ)

    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert preview.find_protocol(environ) is None


def test_kitty_receives_the_file_in_parts() -> None:
    """Each is short enough, and all but the last say that another follows."""
    shown = image()
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", preview.encode_kitty(shown))

    assert shown.content == base64.b64decode("".join(data for _, data in parts))
    assert ["m=1"] * (len(parts) - 1) + ["m=0"] == [control[-3:] for control, _ in parts]
    assert all(len(data) <= preview.CHUNK for _, data in parts)
    assert "" == preview.encode_kitty(Artifact("image", "image/webp", b"1"))


def test_iterm2_receives_the_file() -> None:
    """In one escape sequence."""
    shown = image()

    assert base64.b64encode(shown.content).decode() in preview.encode_iterm2(shown)


def test_sixels_are_made_by_chafa() -> None:
    """Where it is installed."""
    pytest.importorskip("chafa")

    assert "\x1bP" in preview.encode_sixel(image(16))
