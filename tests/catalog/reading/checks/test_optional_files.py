"""Finding the files that a call may go without."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.entries import Parameter
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.checks.optional_files import with_optional_files
from octabox.catalog.reading.source import SourceTree


@pytest.mark.parametrize(
    ("body", "required"),
    [
        ("if image is not None:\n    self.vae.encode(image)", False),
        ("if path is not None or image is not None:\n    self.vae.load(path, image)", False),
        ("if image is None:\n    x = noise\nelse:\n    x = self.vae.encode(image)", False),
        ("x = self.vae.encode(image) if image is not None else None", False),
        ("x = self.prepare(image) if image is not None else None", False),
        ("if image is not None and self.flag:\n    self.vae.encode(image)", False),
        ("if image is not None:\n    x = 1\nself.vae.encode(image)", True),
        ("if image is not None or steps > 1:\n    self.vae.encode(image)", True),
        ("if image is not None or self.flag:\n    self.vae.encode(image)", True),
        ("if noise is None:\n    self.vae.encode(image)", True),
        ("self.vae.encode(image)", True),
        ("if image is not None:\n    x = 1\nself.prepare(image)", True),
    ],
)
def test_a_file_is_optional_where_the_defaults_do_not_lead_to_it(body: str, required: bool, tmp_path: Path) -> None:
    """Where each place that reads it is behind a condition that fails without it, whatever else is compared with None."""
    text = (
        "class Brush:\n"
        "    def prepare(self, picture):\n        return self.vae.encode(picture)\n"
        "    def __call__(self, image=None, path=None, noise=None, steps=50):\n"
    )
    (tmp_path / "brush.py").write_text(text + textwrap.indent(body, " " * 8), encoding="utf-8")
    tree = SourceTree("brushes", tmp_path)
    owner = tree.find("Brush")
    assert owner is not None

    (parameter,) = with_optional_files(tree, owner, [Parameter("image", "ImageInput", "image", required=True)])

    assert required == parameter.required


def test_a_file_without_default_stays_required(tmp_path: Path) -> None:
    """The signature decides, whatever the call does with it."""
    text = (
        "class Brush:\n    def __call__(self, image):\n        if image is not None:\n            self.encode(image)\n"
    )
    (tmp_path / "brush.py").write_text(text, encoding="utf-8")
    tree = SourceTree("brushes", tmp_path)
    owner = tree.find("Brush")
    assert owner is not None

    assert with_optional_files(tree, owner, [Parameter("image", "ImageInput", "image", required=True)])[0].required


def test_known_classes_need_the_files_that_they_read(catalog: Catalog) -> None:
    """Audio is made from noise where none is given; an image is not."""
    required = {
        (name, parameter): found.required
        for name, parameter in (
            ("AudioDiffusionPipeline", "raw_audio"),
            ("StableDiffusionImg2ImgPipeline", "image"),
            ("StableDiffusionInpaintPipeline", "mask_image"),
            ("LTXImageToVideoPipeline", "image"),
        )
        if (found := catalog.pipeline(name).parameter(parameter))
    }

    assert [False, True, True, True] == list(required.values())
