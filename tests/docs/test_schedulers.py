"""The page on noise schedulers matches the table of names and the catalog."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from document_schedulers import PAGE, generated, page
from octabox.catalog.entries import Dependency, PackageMetadata, Parameter, SchedulerEntry
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
    """A row has the compatible types of models, the schedules, and the dependencies of a class."""
    settings = (Parameter("beta_schedule"), Parameter("timestep_spacing"), Parameter("use_karras_sigmas"))
    entry = SchedulerEntry("DripScheduler", "drips", settings, needs=(Dependency("scipy", "scipy"),))

    text = page(Catalog(PackageMetadata(schedulers=(entry,))), "9.9")

    assert "| `DripScheduler` | noise | karras, sgm_uniform, simple, ddim, normal | scipy (always) |" in text
    assert "**diffusers 9.9**" in text
