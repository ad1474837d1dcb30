"""Every method of LocalAI's contract on a real backend, with the embedded model."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from PIL import Image

from localai_backend import Client, failing, messages
from octabox import demo

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
UNREADY, UNABLE = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED

#: States of a backend.
UNINITIALIZED, BUSY, READY, ERROR = 0, 1, 2, -1

#: More steps than any test waits for.
LONG = 900


@pytest.fixture
def loaded(backend: Client) -> Client:
    """Return a client of a backend that has loaded the embedded model."""
    assert backend.load(demo.FOLDER, Model="painter").success
    return backend


def wait_for(backend: Client, state: int) -> None:
    """Wait until a backend is in a state."""
    end = time.monotonic() + 240
    while backend.status().state != state:
        assert time.monotonic() < end
        time.sleep(0.01)


def descendants(backend: Client) -> list[int]:
    """Return the numbers of the processes that a backend has started, the newest last."""
    children = psutil.Process(backend.process.pid).children(recursive=True)
    return [each.pid for each in sorted(children, key=psutil.Process.create_time)]


def test_health_is_exactly_ok(backend: Client) -> None:
    """LocalAI's core takes no other answer."""
    assert b"OK" == backend.health()


def test_a_model_is_loaded_used_freed_and_loaded_again(backend: Client, tmp_path: Path) -> None:
    """The state and the memory follow the model; after Free its process is gone, and nothing can be made."""
    backend.free()
    assert (UNINITIALIZED, 0) == (backend.status().state, backend.status().memory.total)
    for _ in range(2):
        assert "Model loaded successfully" == backend.load(demo.FOLDER).message
        assert backend.image(tmp_path / "made.png").success
        now, worker = backend.status(), descendants(backend)[-1]
        assert READY == now.state
        assert now.memory.total == sum(now.memory.breakdown.values()) > 50e6
        assert backend.free().success
        assert not Path(f"/proc/{worker}").exists()
        assert (UNINITIALIZED, 0) == (backend.status().state, backend.status().memory.total)
        with failing() as told:
            backend.image(tmp_path / "none.png")
        assert UNREADY == told[0]
    assert ["made.png"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", [".png", ".tmp", ".jpg", ""])
def test_an_image_is_png_whatever_its_suffix(loaded: Client, tmp_path: Path, suffix: str) -> None:
    """LocalAI's core reads PNG, even from a file that it calls otherwise; its size is the one that was asked for."""
    made = tmp_path / f"made{suffix}"

    assert loaded.image(made, width=64, height=64).success
    with Image.open(made) as picture:
        assert ("PNG", (64, 64)) == (picture.format, picture.size)
    assert [made] == list(tmp_path.iterdir())


def test_a_seed_makes_the_same_image_again(loaded: Client, tmp_path: Path) -> None:
    """A seed decides, 0 too; -1 draws one at random, which is told."""
    for name, seed in (("a", 0), ("b", 0), ("c", 7), ("d", -1), ("e", -1)):
        answer = loaded.image(tmp_path / name, seed=seed)
        assert "seed" in answer.message
    made = [(tmp_path / name).read_bytes() for name in "abcde"]

    assert made[0] == made[1]
    assert 4 == len(set(made))


def test_the_identity_is_checked(loaded: Client, tmp_path: Path) -> None:
    """A caller that takes the model for another is told so in the words that LocalAI's router knows."""
    with failing() as told:
        loaded.image(tmp_path / "a.png", ModelIdentity="another")

    assert NOT_FOUND == told[0]
    assert "model identity mismatch" in told[1]
    assert loaded.image(tmp_path / "b.png", ModelIdentity="painter").success
    assert ["b.png"] == [path.name for path in tmp_path.iterdir()]


def test_eight_callers_are_served_while_health_answers(loaded: Client, tmp_path: Path) -> None:
    """All callers get their own image, and Health answers between them as if there were none."""
    seconds: list[float] = []
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(loaded.image, tmp_path / f"{seed}.png", seed=seed, step=8) for seed in range(8)]
        while not all(answer.done() for answer in answers):
            began = time.perf_counter()
            assert b"OK" == loaded.health()
            seconds.append(time.perf_counter() - began)
            time.sleep(0.005)

    assert all(answer.result().success for answer in answers)
    assert 8 == len({path.read_bytes() for path in tmp_path.iterdir()})
    assert sorted(seconds)[len(seconds) // 2] < 0.05


def test_a_caller_that_leaves_frees_the_worker(loaded: Client, tmp_path: Path) -> None:
    """A call that is cancelled stops within a step, writes nothing, and the next one is right."""
    assert loaded.image(tmp_path / "before.png").success
    request = messages.GenerateImageRequest(positive_prompt="p", dst=str(tmp_path / "none.png"), step=LONG, seed=1)
    call = loaded.stub.GenerateImage.future(request)
    wait_for(loaded, BUSY)
    time.sleep(0.3)
    call.cancel()
    began = time.perf_counter()
    assert loaded.image(tmp_path / "after.png").success

    # All steps would take more than ten times as long.
    assert time.perf_counter() - began < 3
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()
    assert not (tmp_path / "none.png").exists()


def test_a_killed_worker_costs_one_call(loaded: Client, tmp_path: Path) -> None:
    """The call that ran is run once more; without that worker too it is an internal error, and the next call is served."""
    told: list[object] = []

    def ask() -> None:
        with failing() as status:
            loaded.image(tmp_path / "none.png", step=LONG)
        told.extend(status)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(loaded, BUSY)
    time.sleep(0.3)
    for _ in range(2):
        seen = descendants(loaded)
        # The backend starts a fork server, and that the worker.
        os.kill(seen[-1], signal.SIGKILL)
        while thread.is_alive() and set(descendants(loaded)) <= set(seen):
            time.sleep(0.05)
    thread.join(60)

    assert grpc.StatusCode.INTERNAL == told[0]
    assert loaded.image(tmp_path / "made.png").success
    assert ["made.png"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"dst": ""}, INVALID, "dst"),
        ({"dst": "/etc/none.png"}, INVALID, "/etc/none.png"),
        ({"dst": "/nowhere/none.png"}, INVALID, "dst"),
        ({"src": "/etc/passwd"}, INVALID, "src"),
        ({"src": "SELF/none.png"}, INVALID, "none.png"),
        ({"src": "SELF/text"}, INVALID, "image"),
        ({"ref_images": ["SELF/text"]}, INVALID, "image"),
        ({"step": -3}, INVALID, "num_inference_steps"),
        ({"width": 60, "height": 61}, INVALID, "height"),
        ({"width": 2**31 - 1, "height": 2**31 - 1}, INVALID, "pixels"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    loaded: Client, tmp_path: Path, fields: dict[str, object], code: grpc.StatusCode, word: str
) -> None:
    """A mistake of the caller is a status that says so and names the thing, and no file is left behind."""
    (tmp_path / "text").write_text("no image", encoding="utf-8")

    def placed(value: object) -> object:
        if isinstance(value, list):
            return [placed(each) for each in value]
        return value.replace("SELF", str(tmp_path)) if isinstance(value, str) else value

    given = {"dst": str(tmp_path / "none.png"), **{name: placed(value) for name, value in fields.items()}}
    request = messages.GenerateImageRequest(positive_prompt="p", **{"step": 1, **given})
    with failing() as told:
        loaded.stub.GenerateImage(request, timeout=240)

    assert code == told[0]
    assert word in told[1]
    assert ["text"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("method", "request_of"),
    [("GenerateVideo", "GenerateVideoRequest"), ("SoundGeneration", "SoundGenerationRequest")],
)
def test_what_a_model_cannot_do_is_said(loaded: Client, tmp_path: Path, method: str, request_of: str) -> None:
    """A model of images makes neither videos nor audio."""
    with failing() as told:
        getattr(loaded.stub, method)(getattr(messages, request_of)(dst=str(tmp_path / "none")), timeout=240)

    assert UNABLE == told[0]
    assert "text-to-image" in told[1]


def test_a_name_that_has_no_encoding_is_told(loaded: Client, tmp_path: Path) -> None:
    """A name on disk may be no text, which a message cannot hold: the answer has a question mark for what it lacks."""
    part = os.fsencode(tmp_path) + b"/un\xffet"
    Path(os.fsdecode(part)).mkdir()
    Path(os.fsdecode(part + b"/model.bin")).touch()

    with failing() as told:
        loaded.load(tmp_path)

    assert UNREADY == told[0]
    assert "un?et has no safetensors weights" in told[1]


def test_a_failed_load_leaves_the_old_model_or_none(loaded: Client, tmp_path: Path) -> None:
    """What is wrong before anything is loaded leaves the old model; what fails later leaves none, and that is the state."""
    with failing() as told:
        loaded.load(demo.FOLDER, PipelineType="NoSuchPipeline")
    assert told[0] in {INVALID, UNABLE}
    for option in ("no_such_parameter:1", "num_inference_steps:many"):
        with failing() as told:
            loaded.load(demo.FOLDER, Options=[option])
        assert INVALID == told[0]
    assert loaded.image(tmp_path / "old.png", ModelIdentity="painter").success

    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_bytes((demo.FOLDER / "model_index.json").read_bytes())
    with failing() as told:
        loaded.load(broken)
    assert UNREADY == told[0]
    assert ERROR == loaded.status().state
    with failing() as told:
        loaded.image(tmp_path / "none.png")
    assert UNREADY == told[0]
    assert loaded.load(demo.FOLDER).success
    assert READY == loaded.status().state


def test_a_load_whose_caller_leaves_is_not_left_half_done(backend: Client, tmp_path: Path) -> None:
    """LocalAI's core may give a slow load up and ask again: what was begun is finished, and is there then."""
    backend.free()
    call = backend.stub.LoadModel.future(messages.ModelOptions(Model="slow", ModelFile=str(demo.FOLDER)))
    wait_for(backend, BUSY)
    call.cancel()

    assert backend.image(tmp_path / "made.png", ModelIdentity="slow").success
    assert READY == backend.status().state


def test_another_model_takes_the_place_of_the_first(loaded: Client, tmp_path: Path) -> None:
    """A second LoadModel waits for the calls that run, and replaces the model; only one is in memory."""
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(loaded.image, tmp_path / "a.png", step=20, ModelIdentity="painter")
        wait_for(loaded, BUSY)
        assert loaded.load(demo.FOLDER, Model="other", Options=["guidance_scale:1.5"]).success
    assert running.result().success
    assert loaded.image(tmp_path / "b.png", step=20, ModelIdentity="other").success
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert loaded.status().memory.total < 1.5e9


def test_a_source_is_painted_over(loaded: Client, tmp_path: Path) -> None:
    """An image of the allowed folders is the beginning of another, turned upright and in any mode."""
    file = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 128)).save(file, "PNG")
    (tmp_path / "src").write_bytes(file.getvalue())

    assert loaded.image(tmp_path / "made.png", src=str(tmp_path / "src"), step=4).success
    assert loaded.image(tmp_path / "other.png", step=4).success
    assert (tmp_path / "made.png").read_bytes() != (tmp_path / "other.png").read_bytes()
