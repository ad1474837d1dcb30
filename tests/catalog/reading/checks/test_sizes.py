"""Finding what sizes a pipeline takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.catalog.entries import Parameter, SizeRule
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.checks.sizes import size_rules
from octabox.catalog.reading.source import SourceTree

BOTH, FRAMES = ("height", "width"), ("num_frames",)

#: Bodies of a check, with the rules that they make.
CHECKS = {
    "if height % 8 != 0 or width % 8 != 0:\n    raise ValueError": [SizeRule(BOTH, 8)],
    "if height is not None and height % 16 != 0:\n    raise ValueError": [SizeRule(BOTH, 16)],
    "if height:\n    if height % 2**3 != 0:\n        raise ValueError": [SizeRule(BOTH, 8)],
    "if height % (self.scale * 2) != 0:\n    raise ValueError": [SizeRule(BOTH, expression="scale * 2")],
    "m = self.scale * 2\nif width % m != 0:\n    raise ValueError": [SizeRule(BOTH, expression="scale * 2")],
    "if height % 8 != 0:\n    logger.warning('rounded')": [SizeRule(BOTH, 8, rounded=True)],
    "if height % 8 != 0:\n    logger.warning('')\nif width % 4 != 0:\n    raise ValueError": [SizeRule(BOTH, 4)],
    "if height % 8 != 0:\n    raise ValueError\nif height % 32 != 0:\n    raise ValueError": [SizeRule(BOTH, 32)],
    "if (num_frames - 1) % 4 != 0:\n    raise ValueError": [SizeRule(FRAMES, 4, offset=1)],
    "if num_frames % self.t != 1:\n    raise ValueError": [SizeRule(FRAMES, expression="t", offset=1)],
    "if height % 8 != 0:\n    height = 8": [],
    "if length % 8 != 0:\n    raise ValueError": [],
    "n = n\nif height % n != 0:\n    raise ValueError": [SizeRule(BOTH, expression="n")],
}


def rules(folder: Path, check: str, *names: str) -> list[SizeRule]:
    """Return the rules of a class with this check, whose call takes parameters of these names."""
    body = check.replace("\n", "\n        ")
    text = f"class Brush:\n    def check_inputs(self, height, width, num_frames):\n        {body}\n"
    (folder / "brush.py").write_text(text, encoding="utf-8")
    tree = SourceTree("brushes", folder)
    owner = tree.find("Brush")
    assert owner is not None
    return list(size_rules(tree, owner, [Parameter(name) for name in names]))


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_makes_a_rule(check: str, tmp_path: Path) -> None:
    """What a check refuses or rounds is a rule: a number, or an expression in terms of the pipeline."""
    assert CHECKS[check] == rules(tmp_path, check, "height", "width", "num_frames")


def test_a_call_without_sizes_has_no_rules(tmp_path: Path) -> None:
    """Sizes that a call does not take have no rules."""
    check = "if height % 8 != 0 or width % 8 != 0:\n    raise ValueError"

    assert [] == rules(tmp_path, check, "prompt", "height")


@pytest.mark.parametrize(
    ("name", "multiple", "expression", "binning"),
    [
        ("StableDiffusionPipeline", 8, "", False),
        ("FluxPipeline", None, "vae_scale_factor * 2", False),
        ("SanaPipeline", 32, "", True),
        ("PixArtAlphaPipeline", 8, "", True),
        ("DDPMPipeline", None, "", False),
    ],
)
def test_known_pipelines_have_their_rules(
    catalog: Catalog, name: str, multiple: int | None, expression: str, binning: bool
) -> None:
    """Classes of diffusers have the rules that their checks write out."""
    entry = catalog.pipeline(name)
    found = next(((rule.multiple, rule.expression) for rule in entry.sizes if "height" in rule.parameters), (None, ""))

    assert (multiple, expression, binning) == (*found, entry.binning)


def test_known_frames_have_their_rule(catalog: Catalog) -> None:
    """A count of frames may be a multiple of a number plus one."""
    rule = next((rule for rule in catalog.pipeline("WanPipeline").sizes if "num_frames" in rule.parameters), None)

    assert rule == SizeRule(FRAMES, expression="vae_scale_factor_temporal", offset=1, rounded=True)


@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("StableDiffusionPipeline", True),
        ("DDPMPipeline", True),
        ("ShapEPipeline", False),
        ("DanceDiffusionPipeline", True),
    ],
)
def test_lists_make_batches(catalog: Catalog, name: str, batches: bool) -> None:
    """A class whose call takes lists of prompts and of generators can run several requests at once."""
    assert batches == catalog.pipeline(name).batches
