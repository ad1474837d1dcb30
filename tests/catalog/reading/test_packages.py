"""Finding the packages that a class needs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.entries import Dependency
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.packages import DependencyReader
from octabox.catalog.reading.source import SourceTree

GUARD = """
if is_ftfy_available():
    import ftfy
"""

#: Ways in which a file uses a package, with what its class needs.
FILES = {
    "a module that uses it": ("import rtmidi\nclass Brush:\n    def go(self): rtmidi.play()", {"rtmidi": True}),
    "a module that does not": ("import rtmidi\nclass Brush:\n    def go(self): pass", {}),
    "a function": (
        f"{GUARD}\ndef clean(text): return ftfy.fix_text(text)\nclass Brush:\n    def go(self): clean('')",
        {"ftfy": True},
    ),
    "a function of another": (
        f"{GUARD}\ndef clean(text): return ftfy.fix_text(text)\nclass Brush:\n    def go(self): pass",
        {},
    ),
    "a function that asks": (
        (
            f"{GUARD}\ndef clean(text):\n    if is_ftfy_available(): ftfy.fix_text(text)\n"
            "class Brush:\n    def go(self): clean('')"
        ),
        {"ftfy": False},
    ),
    "a class that asks elsewhere": (
        f"{GUARD}\nclass Brush:\n    def check(self): return is_ftfy_available()\n    def go(self): ftfy.fix_text('')",
        {"ftfy": False},
    ),
    "an answer kept": (
        "CAN = is_ftfy_available()\nclass Brush:\n    def go(self): return CAN",
        {"ftfy": False},
    ),
    "an import under something": (
        "with silence():\n    import rtmidi\nclass Brush:\n    def go(self): rtmidi.play()",
        {"rtmidi": True},
    ),
    "a substitute": (
        (
            "if is_guard_available():\n    from guard import Checker\nelse:\n    class Checker: pass\n"
            "class Brush:\n    def go(self): Checker()"
        ),
        {"guard": False},
    ),
    "an import of its own": ("class Brush:\n    def go(self):\n        import rtmidi", {"rtmidi": False}),
    "some setting": (
        "import rtmidi\nclass Brush:\n    def go(self, loud):\n        if loud: rtmidi.play()",
        {"rtmidi": False},
    ),
    "a setting and always": (
        "import rtmidi\nclass Brush:\n    def go(self, loud):\n        if loud: rtmidi.play()\n        rtmidi.end()",
        {"rtmidi": True},
    ),
    "another name": (
        "import cv2 as eyes\nclass Brush:\n    def go(self): eyes.see()",
        {"opencv-python-headless": True},
    ),
    "what comes with us": ("import numpy as np\nimport re\nclass Brush:\n    def go(self): np.ones(re)", {}),
}


def tree_of(folder: Path, **files: str) -> SourceTree:
    """Write files and return their tree."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return SourceTree("brushes", folder)


def needs(tree: SourceTree, name: str = "Brush") -> dict[str, bool]:
    """Return what a class needs, and whether it is certain."""
    owner = tree.find(name)
    assert owner is not None
    return {need.name: need.certain for need in DependencyReader(tree).needs(owner)}


@pytest.mark.parametrize("name", FILES)
def test_a_use_is_a_need(name: str, tmp_path: Path) -> None:
    """A package is needed where it is used, and certainly where nothing asks for it first."""
    text, expected = FILES[name]

    assert expected == needs(tree_of(tmp_path, brush=text))


def test_needs_come_from_other_files(tmp_path: Path) -> None:
    """What a class of another file needs, its user needs too, unless that one asks first."""
    tree = tree_of(
        tmp_path,
        paint="import rtmidi\nclass Paint:\n    def __init__(self): rtmidi.play()",
        brush="""
            from .paint import Paint
            class Brush:
                def __init__(self, paint: Paint): pass
            class Careful:
                def __init__(self): self.paint = Paint() if is_rtmidi_available() else None
        """,
    )

    assert {"rtmidi": True} == needs(tree)
    assert {"rtmidi": False} == needs(tree, "Careful")


def test_a_stand_in_lists_its_needs(tmp_path: Path) -> None:
    """What a stand-in asks for is needed by the class that it stands for."""
    tree = tree_of(
        tmp_path,
        brush="class Brush:\n    pass",
        dummies='class Brush(metaclass=DummyObject):\n    _backends = ["torch", "opencv"]',
    )

    assert {"opencv-python-headless": True} == needs(tree)


def test_a_scheduler_is_chosen_apart(tmp_path: Path) -> None:
    """A scheduler that a pipeline names brings it no needs."""
    scheduler = "import scipy\nclass SchedulerMixin: pass\n"
    scheduler += "class Drip(SchedulerMixin):\n    def go(self): scipy.go()"
    brush = "from .drip import Drip\nclass Brush:\n    def __init__(self, scheduler: Drip): pass"
    tree = tree_of(tmp_path, drip=scheduler, brush=brush)

    assert {} == needs(tree)
    assert {"scipy": True} == needs(tree, "Drip")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("StableDiffusionPipeline", ()),
        ("WanImageToVideoPipeline", (Dependency("ftfy", "ftfy"),)),
        ("WanPipeline", (Dependency("ftfy", "ftfy", certain=False),)),
        ("OmniGenPipeline", (Dependency("torchvision", "torchvision"),)),
        ("ConsisIDPipeline", (Dependency("opencv-python-headless", "cv2"),)),
        ("KolorsPipeline", (Dependency("sentencepiece", "sentencepiece"),)),
        (
            "CosmosTextToWorldPipeline",
            (
                Dependency("cosmos_guardrail", "cosmos_guardrail", certain=False),
                Dependency("torchvision", "torchvision", certain=False),
            ),
        ),
    ],
)
def test_known_pipelines_need_what_they_are_known_to(
    catalog: Catalog, name: str, expected: tuple[Dependency, ...]
) -> None:
    """Classes of diffusers need the packages without which they are known to fail."""
    assert expected == catalog.pipeline(name).needs


@pytest.mark.parametrize(
    ("name", "package", "certain"),
    [
        ("LMSDiscreteScheduler", "scipy", True),
        ("EulerDiscreteScheduler", "scipy", False),
        ("CosineDPMSolverMultistepScheduler", "torchsde", True),
    ],
)
def test_known_schedulers_need_what_they_are_known_to(catalog: Catalog, name: str, package: str, certain: bool) -> None:
    """Schedulers of diffusers need the packages without which they are known to fail."""
    assert (Dependency(package, package, certain),) == catalog.scheduler(name).needs
