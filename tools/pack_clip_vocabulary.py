"""Pack CLIP's vocabulary, which `octabox.hub.checkpoints.bundles` ships, from the one that OpenAI published with CLIP.

The package `open-clip-torch` (MIT licence) carries it unchanged:

    pip download --no-deps open-clip-torch -d /tmp/clip
    python tools/pack_clip_vocabulary.py /tmp/clip/open_clip_torch-*.whl
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path

PLACE = Path(__file__).parents[1] / "src/octabox/hub/checkpoints/clip"

#: All tokens of the model, less a token for each byte, one for each byte that ends a word, and two that frame a text.
MERGES = 49408 - 2 * 256 - 2


def merges(published: str) -> str:
    """Return the merges that CLIP uses, of the longer list that was published, as transformers reads them."""
    lines = published.splitlines()[1 : MERGES + 1]
    assert len(lines) == MERGES
    return "\n".join(["#version: 0.2", *lines, ""])


def main(wheel: Path) -> None:
    """Write the packed merges and the licence that they stand under."""
    with zipfile.ZipFile(wheel) as archive:
        published = gzip.decompress(archive.read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode()
        licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        text = archive.read(licence)
    PLACE.mkdir(exist_ok=True)
    (PLACE / "merges.txt.gz").write_bytes(gzip.compress(merges(published).encode(), 9, mtime=0))
    (PLACE / "LICENSE").write_bytes(text)
    print(f"{PLACE}: {sum(file.stat().st_size for file in PLACE.iterdir())} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
