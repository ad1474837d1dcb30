"""The page on LocalAI names all that LocalAI has, and shows by tests that we have none of its defects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from octabox.catalog.pipelines import BASE, load_catalog
from octabox.config.localai import table
from octabox.config.preset_merge import preset_of_alias
from octabox.frontends.http.localai.schema import InpaintingForm, UpscaleForm, VideoRequest
from octabox.frontends.naming.parameters import ALIASES
from octabox.schedulers.names import resolve_scheduler

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility" / "localai.md").read_text(encoding="utf-8")
NAMES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("localai.yaml").read_text(encoding="utf-8"))

#: What may be said of a name.
VERDICTS = ("honoured", "differently", "no effect", "refused", "not served")

#: All defects by their numbers.
DEFECTS = [f"{kind}{number}" for kind, count in NAMES["defects"].items() for number in range(1, count + 1)]

#: A test as the page names it.
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows(section: str) -> dict[str, list[str]]:
    """Return the cells of a section's rows by the names that stand first in them."""
    body = re.split(r"^#+ ", PAGE.partition(f"\n## {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found: dict[str, list[str]] = {}
    for line in body.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for name in re.findall(r"`([^`]+)`", cells[0]) if len(cells) > 1 else []:
            found[name] = cells[1:]
    return found


@pytest.mark.parametrize("section", NAMES["sections"])
def test_every_name_has_a_verdict(section: str) -> None:
    """Honoured, honoured differently, refused or without effect: each name of the contract is one of them."""
    told = rows(section)

    assert [] == [name for name in NAMES["sections"][section] if name not in told]
    assert [] == [name for name, cells in told.items() if not cells[0].startswith(VERDICTS)]


def test_every_key_that_is_read_is_named() -> None:
    """The table of keys and the page are of the same length."""
    assert set(table()["keys"]) == set(rows("Keys of its YAML"))


def test_a_key_without_effect_says_so() -> None:
    """What the table has no use for is told so on the page, and nothing else."""
    unused = {key for key, spec in table()["keys"].items() if "unused" in spec}

    assert unused == {key for key, cells in rows("Keys of its YAML").items() if cells[0].startswith("no effect")}


@pytest.mark.parametrize(
    ("section", "shape"),
    [
        ("POST /v1/images/inpainting", InpaintingForm),
        ("POST /v1/images/upscale", UpscaleForm),
        ("POST /video", VideoRequest),
    ],
)
def test_every_field_of_ours_is_named(section: str, shape: Any) -> None:
    """Fields that LocalAI has not, too."""
    assert [] == [name for name in shape.model_fields if name not in rows(section)]
    assert ALIASES.keys() <= rows("POST /v1/images/generations").keys()


@pytest.mark.parametrize("name", NAMES["sections"]["Pipeline types"])
def test_every_pipeline_type_loads_as_something(name: str) -> None:
    """A class of the catalog, the model's own for a task, or a preset."""
    catalog = load_catalog()
    is_preset = preset_of_alias(name) is not None

    assert is_preset or name in {*catalog.pipelines, *catalog.automatic.values(), BASE}


@pytest.mark.parametrize("name", NAMES["sections"]["Schedulers"])
def test_every_scheduler_is_a_class(name: str) -> None:
    """Each name of its pages has a meaning, its default's odd spelling too."""
    assert resolve_scheduler(name, {}, load_catalog().schedulers)[0].startswith(
        ("DDIM", "DDPM", "DPM", "Euler", "Heun", "KDPM2", "LMS", "PNDM", "UniPC")
    )


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_has_its_proof(defect: str) -> None:
    """A test that is there shows that ours does not have it."""
    what, proof = rows("Defects")[defect]

    assert what
    assert TEST.search(proof)


def test_tests_that_are_named_are_there() -> None:
    """By file and by name."""
    named = TEST.findall(PAGE)

    assert named
    assert [] == [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
