"""The frame rate of the video in the example of a call."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.reading.package import read_package

#: A pipeline whose example has a text of its own, by file of its package.
CLIP = '''
    from ..pipeline_utils import DiffusionPipeline
    from ..docs import SHARED

    EXAMPLE = """
    ```py
    {code}
    ```
    """

    class ClipPipeline(DiffusionPipeline):
        "Makes a clip."

        @replace_example_docstring({name})
        def __call__(self, prompt: str, num_frames: int = 9) -> ClipOutput:
            """Make it.

            Examples:
            """
'''


def read(folder: Path, code: str, name: str = "EXAMPLE") -> float | None:
    """Return the frame rate in an example of this code."""
    (folder / "docs.py").write_text('SHARED = ">>> export_to_video(clip, fps=12)"\n')
    text = textwrap.dedent(CLIP).format(code=code, name=name)
    (folder / "pipelines" / "clip.py").write_text(text)
    found = {each.name: each for each in read_package("brushes", folder).pipelines}
    return found["ClipPipeline"].frame_rate


@pytest.mark.parametrize(
    ("code", "rate"),
    [
        ('>>> export_to_video(clip, "clip.mp4", fps=8)', 8.0),
        (">>> rate = 24.0\n>>> encode_video(\n...     clip[0],\n...     fps=rate,\n... )", 24.0),
        (">>> export_to_video(controls, fps=5)\n>>> export_to_gif(clip, fps=10)", 10.0),
        ('export_to_video(clip, "clip.mp4", fps=15)', 15.0),
        (">>> export_to_video(clip)", None),
        (">>> export_to_video(clip, fps=source.fps)", None),
        (">>> clip = load_frames(path, fps=30)", None),
        (">>> export_to_video(clip, fps=)", None),
        (">>>export_to_video(clip, fps=8)", None),
    ],
)
def test_what_the_example_writes(made_up: Path, code: str, rate: float | None) -> None:
    """It is the number for the last video, or the variable for it; other calls, and code that is not valid, say nothing."""
    assert rate == read(made_up, code)


def test_an_example_of_another_module(made_up: Path) -> None:
    """Pipelines may share an example; a name that is not known says nothing."""
    assert 12.0 == read(made_up, "pass", "SHARED")
    assert read(made_up, "pass", "UNKNOWN") is None


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("CogVideoXPipeline", 8.0),
        ("EasyAnimateInpaintPipeline", 8.0),
        ("AllegroPipeline", 15.0),
        ("WanPipeline", 16.0),
        ("LTX2ConditionPipeline", 24.0),
        ("HeliosPipeline", 24.0),
        ("HunyuanVideoFramepackPipeline", 30.0),
        ("WanAnimatePipeline", 30.0),
        ("HeliosModularPipeline", 24.0),
        ("StableDiffusionPipeline", None),
    ],
)
def test_the_pipelines_of_diffusers(name: str, rate: float | None) -> None:
    """Those without a parameter for it state it in their example, or have that of their family."""
    assert rate == load_catalog().pipelines[name].frame_rate
