"""Show an image in a terminal that can: by the protocols of kitty and iTerm2, and as sixels by chafa, where it is installed."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator, Mapping

from octabox.types import Artifact

#: Maximum length of a part of kitty's protocol.
CHUNK = 4096

#: Rows of the terminal that an image takes.
ROWS = 16

#: Terminals of kitty's protocol, by words of `TERM` and `TERM_PROGRAM`.
KITTY = ("kitty", "ghostty")

#: Terminals of iTerm2's protocol.
ITERM2 = ("iterm", "wezterm", "mintty", "vscode")

#: Terminals with sixels.
SIXEL = ("sixel", "foot", "mlterm", "yaft", "contour")

#: Multiplexers, which do not pass these protocols on.
MULTIPLEXERS = ("screen", "tmux")


def show_image(artifact: Artifact) -> bool:
    """Show an image below the current line, and return whether the terminal can."""
    if artifact.kind != "image" or (encode := find_protocol(os.environ)) is None:
        return False
    text = encode(artifact)
    if text:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    return bool(text)


def find_protocol(environ: Mapping[str, str]) -> Callable[[Artifact], str] | None:
    """Return the function that encodes an image for the terminal; None if it cannot show any, or `NO_COLOR` is set."""
    names = " ".join(environ.get(name, "") for name in ("TERM", "TERM_PROGRAM", "LC_TERMINAL")).lower()
    if environ.get("NO_COLOR") or any(word in names for word in MULTIPLEXERS) or not sys.stdout.isatty():
        return None
    protocols = ((KITTY, encode_kitty), (ITERM2, encode_iterm2), (SIXEL, encode_sixel))
    return next((encode for words, encode in protocols if any(word in names for word in words)), None)


def encode_kitty(artifact: Artifact) -> str:
    """Return the escape sequences of kitty's graphics protocol, which takes PNG; empty for another format."""
    return "".join(_kitty_chunks(artifact.content)) if artifact.media_type == "image/png" else ""


def _kitty_chunks(content: bytes) -> Iterator[str]:
    """Yield the escape sequence of each part of an image."""
    data = base64.b64encode(content).decode()
    for start in range(0, len(data), CHUNK):
        control = f"a=T,f=100,r={ROWS}," if start == 0 else ""
        yield f"\x1b_G{control}m={int(start + CHUNK < len(data))};{data[start : start + CHUNK]}\x1b\\"


def encode_iterm2(artifact: Artifact) -> str:
    """Return the escape sequence of iTerm2's protocol for inline images."""
    data = base64.b64encode(artifact.content).decode()
    return f"\x1b]1337;File=inline=1;size={len(artifact.content)};height={ROWS}:{data}\x07"


def encode_sixel(artifact: Artifact) -> str:
    """Return an image as sixels; empty if chafa is not installed."""
    import io

    try:
        import chafa
    except ImportError:
        return ""
    from PIL import Image

    with Image.open(io.BytesIO(artifact.content)) as opened:
        image = opened.convert("RGBA")
    config = chafa.CanvasConfig()
    config.width, config.height = 2 * ROWS, ROWS
    config.calc_canvas_geometry(image.width, image.height, 0.5)
    config.cell_width, config.cell_height = 10, 20
    config.pixel_mode = chafa.PixelMode.CHAFA_PIXEL_MODE_SIXELS
    canvas = chafa.Canvas(config)
    pixels = chafa.PixelType.CHAFA_PIXEL_RGBA8_UNASSOCIATED
    canvas.draw_all_pixels(pixels, image.tobytes(), image.width, image.height, image.width * 4)
    sixels: bytes = canvas.print(fallback=True)
    return sixels.decode()
