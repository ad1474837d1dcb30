"""The page on noise schedulers is what the table and the catalog say."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from document_schedulers import PAGE, generated, page
from octabox.catalog.entries import Dependency, PackageMetadata, Parameter, SchedulerEntry
from octabox.catalog.pipelines import Catalog


def test_the_page_is_up_to_date() -> None:
    """The page is as `make docs` writes it; one of another version of diffusers is not compared."""
    written = PAGE.read_text(encoding="utf-8")
    version = re.search(r"\*\*diffusers ([\d.]+\d)\*\*", written)

    assert version is not None
    if version[1] != metadata.version("diffusers"):
        pytest.skip(f"the page is of diffusers {version[1]}")
    assert generated() == written, "run `make docs`"


def test_a_row_tells_all() -> None:
    """A class has the kinds of models that it fits, the schedules that it can follow, and what it needs."""
    settings = (Parameter("beta_schedule"), Parameter("timestep_spacing"), Parameter("use_karras_sigmas"))
    entry = SchedulerEntry("DripScheduler", "drips", settings, needs=(Dependency("scipy", "scipy"),))

    text = page(Catalog(PackageMetadata(schedulers=(entry,))), "9.9")

    assert "| `DripScheduler` | noise | karras, sgm_uniform, simple, ddim, normal | scipy (always) |" in text
    assert "**diffusers 9.9**" in text
