"""The restoration of faces: only what is around a face changes, and what is missing is told."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

import upscalers
from octabox.engine.worker.upscaling.detection import find_faces
from octabox.engine.worker.upscaling.faces import FaceRestorationPipeline
from octabox.engine.worker.upscaling.network import Upscaler
from octabox.errors import IncompatibleWeightsError, InvalidParameterError, MissingDependencyError
from octabox.hub.checkpoints.families import detect_family


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """Return a portrait in the public domain, of NASA, that scikit-image ships."""
    return Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a tiny network for faces."""
    return upscalers.save(upscalers.restoreformer(), tmp_path_factory.mktemp("faces") / "restoreformer.pth")


@pytest.fixture(scope="module")
def pipe(file: Path) -> FaceRestorationPipeline:
    """Return a pipeline over it."""
    pipe = FaceRestorationPipeline.from_single_file(str(file))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.slow
def test_only_the_face_changes(pipe: FaceRestorationPipeline, portrait: Image.Image) -> None:
    """The pixels around the face are restored, with the strength, and all others are as they were."""
    (face,) = find_faces(portrait)
    left, upper, right, lower = face.box
    assert left < 220 < right
    assert upper < 100 < lower
    before = np.asarray(portrait, np.int16)
    after, half = (np.asarray(pipe(portrait, strength=each).images[0], np.int16) for each in (1.0, 0.5))  # type: ignore[union-attr]
    outside = np.ones(before.shape[:2], bool)
    outside[upper:lower, left:right] = False
    assert (after[outside] == before[outside]).all()
    middle = (slice((upper + lower) // 2 - 8, (upper + lower) // 2 + 8), slice(212, 228))
    assert np.abs(after - before)[middle].max() > 16
    assert np.abs(half - (after + before) / 2)[middle].max() <= 1


def test_no_face(pipe: FaceRestorationPipeline, caplog: pytest.LogCaptureFixture) -> None:
    """An image without a face is unchanged, with a warning."""
    plain = Image.new("RGB", (96, 64), (40, 90, 160))
    with caplog.at_level(logging.WARNING):
        (image,) = pipe(plain).images  # type: ignore[union-attr]
    assert image.tobytes() == plain.tobytes()
    assert "No face was found" in caplog.text


def test_strength_out_of_range(pipe: FaceRestorationPipeline, portrait: Image.Image) -> None:
    """A strength beyond 1 is refused."""
    with pytest.raises(InvalidParameterError, match="'strength' must be from 0 to 1, not 2"):
        pipe(portrait, strength=2)


@pytest.mark.parametrize("module", [None, ModuleType("cv2")])
def test_opencv_is_missing(module: ModuleType | None, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenCV, and with one without classifiers, the error names what to install."""
    if module is not None:
        module.__version__ = "5.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(MissingDependencyError) as caught:
        find_faces(portrait)
    assert 'pip install "octabox[faces]"' in caught.value.hint


def test_a_file_is_told(file: Path, tmp_path: Path) -> None:
    """The file is one for faces, and one that enlarges images is refused."""
    assert detect_family(file).pipeline == "FaceRestorationPipeline"
    other = upscalers.save(upscalers.nearest(2), tmp_path / "x.pth")
    with pytest.raises(IncompatibleWeightsError, match=r"is for SR\."):
        FaceRestorationPipeline.from_single_file(str(other))


def test_a_network_without_normalization() -> None:
    """A network for faces that is passed values as they are gets those that it is trained on, from -1 to 1."""
    seen = []

    def call(_: object, image: torch.Tensor) -> torch.Tensor:
        seen.append((float(image.min()), float(image.max())))
        return image

    descriptor = SimpleNamespace(model=torch.nn.Identity(), purpose="FaceSR", _call_fn=call)
    image = torch.tensor([0.0, 0.25, 1.0])[None, None, None].expand(1, 3, 1, 3)
    assert torch.equal(Upscaler(descriptor)(image), image)
    assert seen == [(-1.0, 1.0)]
