"""The page on pipelines matches the catalog."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from accelerator.table import Reason
from document_pipelines import PAGE, batch, generated, on_accelerator, on_batches, page
from octabox.catalog.entries import Component, Dependency, Field, PackageMetadata, Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog


def test_the_page_is_up_to_date() -> None:
    """The page equals the output of `make docs`; a page of another diffusers version is not compared."""
    written = PAGE.read_text(encoding="utf-8")
    version = re.search(r"\*\*diffusers ([\d.]+\d)\*\*", written)

    assert version is not None
    if version[1] != metadata.version("diffusers"):
        pytest.skip(f"the page is of diffusers {version[1]}")
    assert generated() == written, "run `make docs`"


def test_a_row_is_complete() -> None:
    """A row has the class, tasks, inputs, outputs, progress, dependencies, and whether it is tested."""
    entry = PipelineEntry(
        "BrushPipeline",
        "brushes",
        "brushes",
        parameters=(
            Parameter("prompt", kind="text"),
            Parameter("image", kind="image", required=True),
            Parameter("steps", kind="integer"),
        ),
        components=(Component("vae"),),
        outputs=(Field("images", kind="image"),),
        tasks=("image-to-image",),
        deprecated=True,
        progress="callback",
        needs=(Dependency("ftfy", "ftfy", certain=False),),
        batches=True,
    )
    text = page(
        Catalog(PackageMetadata(pipelines=(entry,))), "9.9", ["BrushPipeline"], {"OldPipeline": "It is\n gone."}
    )

    row = "| `BrushPipeline` *d* | image-to-image | text?, image | image | old callback | ? | ftfy? | yes |"
    assert row in text.splitlines()
    assert "**diffusers 9.9**" in text
    assert "- `OldPipeline`: It is gone." in text


def test_verdicts_about_batches_are_shown() -> None:
    """A row has the verdict, and the section the reasons, each with its classes."""
    entry = PipelineEntry("BrushPipeline", "brushes", "brushes", batches=True)
    text = on_batches(
        {"APipeline": "proved", "BPipeline": "a batch raises BPipelineError", "CPipeline": "takes no lists"}
    )

    assert ["yes", "no", "?"] == [batch(entry, verdict) for verdict in ("proved", "it differs", None)]
    assert "" == batch(PipelineEntry("OldPipeline", "old", "old"), "takes no lists")
    assert "Of 3 classes, **1** are proved, and 1 take no lists" in text
    assert "- a batch raises the classError: `BPipeline`\n" in text
    assert "" == on_batches({})


def test_what_runs_on_an_accelerator_is_counted() -> None:
    """The section has a row for each mode, and the reason for each class that does not run."""
    table = {
        "BrushPipeline": {"float32": "works", "group_offload": "refused: LoadError: BrushPipeline cannot."},
        "PenPipeline": {"float32": "falls back: It is slow.", "group_offload": "fails: GenerationError: torn"},
    }
    text = on_accelerator(table, [Reason("It tears.", "diffusers", "torn")])

    assert "**2 of 4** pairs" in text
    assert "| `float32` | 1 | 1 | 0 | 0 |" in text.splitlines()
    assert "| `group_offload` | 0 | 0 | 2 | 1 |" in text.splitlines()
    assert "- refused: LoadError: the class cannot.\n    - `group_offload`: `BrushPipeline`\n" in text
    assert "- It tears. (diffusers)\n    - `group_offload`: `PenPipeline`\n" in text
