"""The blocks of the pages on Python run one after the other, as they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from code_blocks import ROOT, Block, blocks_of, run_block

REFERENCE = ROOT / "docs" / "reference"


def joined(blocks: list[Block]) -> list[Block]:
    """Return the blocks that run; Python blocks that follow each other are one script, so that names live on."""
    found: list[Block] = []
    for block in blocks:
        if block.reason:
            continue
        if found and found[-1].language == block.language == "python":
            found[-1] = replace(found[-1], text=f"{found[-1].text}\n{block.text}")
        else:
            found.append(block)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", ["library", "pipeline-contract"])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    """No block fails, and the images that are named are written."""
    for block in joined(blocks_of(REFERENCE / f"{page}.md")):
        run_block(block, tmp_path, "")

    assert (tmp_path / "star.png").stat().st_size
