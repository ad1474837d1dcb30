"""Batches of a loaded model: each member gets the image, the progress and the metadata that it gets alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import makers
from calling import call as tiny_call
from calling import run
from makers.samples import mask, sample_image
from octabox.config.model import ModelConfig
from octabox.engine.batches.verdicts import find_verdict
from octabox.engine.messages import BatchReport, Start, WorkerOptions
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches import limits, measuring
from octabox.engine.worker.batches.joined import JoinedRunner
from octabox.engine.worker.batches.limits import BatchLimits
from octabox.engine.worker.batches.probe import Probe, Verdict
from octabox.engine.worker.batches.proof import PROBES
from octabox.engine.worker.batches.runner import BatchRunner
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.mode_selection.controller import ModeController
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import GenerationCancelledError
from octabox.noise import Variation
from octabox.types import OutputFormat, PerformanceReport, Progress, SchedulerChoice

NAME = "StableDiffusionPipeline"
CONFIG = ModelConfig(name="tiny", model="tiny")
PARAMS = {"prompt": "a red star", "num_inference_steps": 3, "height": 64, "width": 64, "negative_prompt": ""}
PROMPTS = ("a red star", "a very large blue circle on the left of a small green square", "one")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the verdicts of each test apart."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(limits, "TRIALS", 1)


class Events:
    """Keeps the progress of calls, and cancels one after so many steps."""

    def __init__(self, cancel: str = "", after: int = 0) -> None:
        self.progress: dict[str, list[Progress]] = {}
        self.dropped: list[str] = []
        self.started: list[tuple[str, int]] = []
        self._cancel, self._after = cancel, after

    def start(self, call: Call, members: int) -> None:
        """Keep a start."""
        self.started.append((call.id, members))

    def publish(self, call: Call, progress: Progress) -> None:
        """Keep progress."""
        self.progress.setdefault(call.id, []).append(progress)

    def is_cancelled(self, call: Call) -> bool:
        """Cancel a call after some steps of any."""
        steps = sum(map(len, self.progress.values()))
        return bool(self._cancel) and self._cancel in (call.id, "all") and steps > self._after

    def drop(self, call: Call) -> None:
        """Keep a dropped call."""
        self.dropped.append(call.id)


def tiny(name: str = NAME) -> tuple[Runner, BatchRunner]:
    """Return the runners of a tiny model."""
    pipe = makers.pipelines()[name].make()
    pipe.set_progress_bar_config(disable=True)
    if getattr(pipe, "safety_checker", None) is not None:
        pipe.safety_checker = None
    model = LoadedModel(pipe, "cpu")
    runner = Runner(model)
    start = Start(ModelConfig(name="tiny", model="tiny"), name, WorkerOptions(device="cpu"))
    return runner, BatchRunner(runner, model, ModeController(model, start))


def call(call_id: str, prompt: str = PROMPTS[0], *, name: str = NAME, batching: str = "always", **fields: Any) -> Call:
    """Return a call whose arrays are returned, so that they are not rounded."""
    params = {**PARAMS, "prompt": prompt, "output_type": "np"} | fields.pop("params", {})
    found = replace(tiny_call(name, params, **fields), id=call_id)
    return replace(found, model=found.model.model_copy(update={"batching": batching}))


def arrays(done: RawOutput) -> list[np.ndarray]:
    """Return the images of a call as arrays."""
    return [np.asarray(item.value, np.float64) for item, *_ in done.outputs if isinstance(item.value, Image.Image)]


def batch(runner: BatchRunner, calls: Sequence[Call], events: Events | None = None) -> dict[str, RawOutput]:
    """Run calls together, and return their outputs by id."""
    return {output.call.id: output for output in runner.run(calls, events or Events())}


@pytest.fixture(scope="module")
def shared() -> tuple[Runner, BatchRunner]:
    """Return the runners of a model that several tests share."""
    return tiny()


def test_members_get_the_outputs_that_they_get_alone(shared: tuple[Runner, BatchRunner]) -> None:
    """In float32, no number differs by more than 0.0001; the metadata state how many shared the call."""
    runner, batches = shared
    calls = [call(text, text, seeds=(index,), output=OutputFormat("npy")) for index, text in enumerate(PROMPTS)]
    together = batch(batches, calls)
    for each in calls:
        (one, seed, metadata), (other, same, shown) = run(runner, each).outputs[0], together[each.id].outputs[0]
        assert isinstance(one.value, dict)
        assert isinstance(other.value, dict)
        for name, array in one.value.items():
            assert array.dtype == np.float32
            assert np.abs(array - other.value[name]).max() <= 1e-4
        assert seed == same
        assert {**metadata, "batch": 3} == shown


def test_runs_of_a_call_share_a_batch(shared: tuple[Runner, BatchRunner]) -> None:
    """Four images of a request are one call of the pipeline; the progress counts the steps of all."""
    runner, batches = shared
    events, four = Events(), call("four", seeds=(1, 2, 3, 4), partial_images=1)
    done = batch(batches, [four], events)["four"]
    alone = run(runner, four)

    assert batches.may_batch([four])
    assert [1, 2, 3, 4] == [seed for _, seed, _ in done.outputs]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(arrays(done), arrays(alone), strict=True))
    assert [4, 8, 12] == [each.step for each in events.progress["four"] if not each.preview]
    assert [0, 1, 2, 3] == [each.output for each in events.progress["four"] if each.preview]
    assert () == done.warnings


def test_a_cancelled_member_drops_out(shared: tuple[Runner, BatchRunner]) -> None:
    """Its outputs are not delivered, and the others get theirs; a batch without members ends at its next step."""
    _, batches = shared
    calls = [call("one", seeds=(1,)), call("two", seeds=(2,))]
    events = Events("one", after=1)
    assert ["two"] == [*batch(batches, calls, events)]
    assert ["one"] == events.dropped
    assert 3 == events.progress["two"][-1].step

    events = Events("all", after=1)
    with pytest.raises(GenerationCancelledError):
        batch(batches, calls, events)
    assert ["one", "two"] == events.dropped
    assert 1 == len(events.progress["one"])


def test_weighted_prompts_run_singly(shared: tuple[Runner, BatchRunner]) -> None:
    """Their hooks would affect the other members."""
    _, batches = shared
    texts = ("a star", "a (star:1.4)", "a circle", "a square")
    calls = [call(text, text, prompt_syntax="a1111") for text in texts]
    events = Events()
    sizes = [output.outputs[0][2].get("batch") for output in batch(batches, calls, events).values()]

    assert [None, None, 2, 2] == sizes
    assert [("a star", 1), ("a (star:1.4)", 1), ("a circle", 2), ("a square", 2)] == events.started


@pytest.mark.parametrize(
    "fields",
    [
        {"params": {"guidance_scale": 3.0}},
        {"params": {"negative_prompt": None}},
        {"params": {"width": 32}},
        {"scheduler": SchedulerChoice("EulerDiscreteScheduler")},
        {"output": OutputFormat("jpeg")},
        {"prompt_syntax": "a1111"},
        {"deterministic": True},
        {"batching": "never"},
    ],
)
def test_other_calls_share_no_batch(shared: tuple[Runner, BatchRunner], fields: dict[str, Any]) -> None:
    """All but prompts, seeds and media must be equal."""
    _, batches = shared
    assert batches.may_batch([call("one", seeds=(1,)), call("two", PROMPTS[1], seeds=(2,))])
    assert not batches.may_batch([call("one"), call("two", **fields)])
    assert not batches.may_batch([call("one")])


def test_variations_share_no_batch(shared: tuple[Runner, BatchRunner]) -> None:
    """Their noise is mixed for one seed."""
    one = call("one", seeds=(1, 1))
    varied = replace(one, runs=tuple(replace(each, variation=Variation(2, 0.5)) for each in one.runs))

    assert shared[1].may_batch([one])
    assert not shared[1].may_batch([varied])


@pytest.mark.slow
def test_images_are_brought_by_each_member() -> None:
    """Of an inpainting model, each member has its image and its mask."""
    name = "StableDiffusionInpaintPipeline"
    runner, batches = tiny(name)
    mirrored = sample_image().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    calls = [
        call(str(seed), name=name, seeds=(seed,), inputs={"image": (image,), "mask_image": (mask(),)}, batching="auto")
        for seed, image in enumerate((sample_image(), mirrored))
    ]
    assert batches.may_batch(calls)
    batches.add_single(calls[0], 1.0)
    together = batch(batches, calls)
    for each in calls:
        assert np.abs(arrays(run(runner, each))[0] - arrays(together[each.id])[0]).max() <= 1
        assert 2 == together[each.id].outputs[0][2]["batch"]


def test_a_class_is_proved_before_it_is_used() -> None:
    """The first batch is preceded by a probe, whose verdict is kept on disk and reported with the learned sizes."""
    _, batches = tiny()
    calls = [call(str(seed), seeds=(seed,), batching="auto") for seed in range(4)]
    assert batches.take_report() is None
    batches.add_single(calls[0], 300.0)
    assert BatchReport({f"{NAME} 64x64": 2}) == batches.take_report()
    sizes = [output.outputs[0][2].get("batch") for output in batch(batches, calls).values()]

    assert [2, 2] == sizes[:2]
    assert {} == find_verdict(NAME, CONFIG)
    report = batches.take_report()
    assert report is not None
    assert {} == report.reasons
    assert 4 == report.limits[f"{NAME} 64x64"]


def test_the_probe_finds_a_class_that_mixes_up_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that draws all noise from the first generator runs singly, and the reason is reported."""
    _, batches = tiny()
    cls: Any = type(makers.pipelines()[NAME].make())
    original = cls.prepare_latents

    def prepare_latents(self: Any, batch_size: int, *args: Any) -> torch.Tensor:
        generator = args[5]
        first = generator[0] if isinstance(generator, list) else generator
        drawn: torch.Tensor = original(self, batch_size, *args[:5], first, *args[6:])
        return drawn

    monkeypatch.setattr(cls, "prepare_latents", prepare_latents)
    calls = [call(str(seed), seeds=(seed,), batching="auto") for seed in range(2)]
    batches.add_single(calls[0], 300.0)
    done = batch(batches, calls)
    report = batches.take_report()

    assert [None, None] == [each.outputs[0][2].get("batch") for each in done.values()]
    assert report is not None
    assert "the same prompts and seeds differs by" in report.reasons[NAME]
    assert {} == report.limits
    assert report.reasons == find_verdict(NAME, CONFIG)


@pytest.mark.parametrize("params", [{"guidance_scale": 1e30}, {"clip_skip": 99}], ids=["not finite", "refused"])
def test_a_request_that_fails_alone_says_nothing_about_its_class(params: dict[str, Any]) -> None:
    """It runs singly, and the next one is probed; where none works, the class runs singly until the next load."""
    _, batches = tiny()
    bad, good = call("bad", batching="auto", params=params), call("good", batching="auto")
    assert batches.proof.find_reason(bad, lambda: None)
    assert find_verdict(NAME, CONFIG) is None
    assert {} == batches.proof.reasons

    assert "" == batches.proof.find_reason(good, lambda: None)
    assert {} == find_verdict(NAME, CONFIG)
    # A value of the same kind as the default takes the branches that are proved now; another is probed again.
    assert ("clip_skip" in params) == bool(batches.proof.find_reason(bad, lambda: None))


def test_a_class_that_no_request_proves_is_probed_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe takes time; the reason is reported then, but not kept on disk."""
    _, batches = tiny()
    runs: list[Run] = []

    def fail(_: JoinedRunner, __: Any, ___: Any, members: Sequence[Run], *____: Any) -> None:
        runs.extend(members)
        raise ValueError("It is too small.")

    monkeypatch.setattr(JoinedRunner, "run", fail)
    counts = []
    for number in range(PROBES + 2):
        assert "It is too small" in batches.proof.find_reason(call(str(number), batching="auto"), lambda: None)
        assert (NAME in batches.proof.reasons) == (number >= PROBES - 1)
        counts.append(len(runs))

    assert counts[0] > 0
    assert [*range(1, PROBES + 1), PROBES, PROBES] == [count // counts[0] for count in counts]
    assert find_verdict(NAME, CONFIG) is None


# The scheduler reads a tensor in a way that numpy has deprecated.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_scheduler_with_a_seed_of_its_own_runs_singly(shared: tuple[Runner, BatchRunner]) -> None:
    """Its noise is that of one seed."""
    choice = SchedulerChoice("DPMSolverSDEScheduler")
    proof = shared[1].proof
    reason = proof.find_reason(call("one", scheduler=choice), lambda: None)

    assert f"{choice.name} keeps its own seed" == reason
    # It is stored, so that the reason is known before the model is loaded.
    assert reason in (find_verdict(NAME, CONFIG) or {}).values()
    assert reason in proof.reasons.values()


@pytest.mark.parametrize("name", ["StableDiffusion3Pipeline", "FluxPipeline"])
@pytest.mark.parametrize("first", [False, True], ids=["after plain requests", "at first"])
def test_a_setting_of_the_scheduler_has_its_own_verdict(name: str, *, first: bool) -> None:
    """One that draws noise from the global generator runs singly, whatever was proved, in memory or on disk, without it."""
    choice = SchedulerChoice("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True})
    plain = call("plain", name=name, batching="auto")
    noisy = replace(plain, id="noisy", scheduler=choice)
    _, batches = tiny(name)
    if not first:
        assert "" == batches.proof.find_reason(plain, lambda: None)
    assert "differs by" in batches.proof.find_reason(noisy, lambda: None)

    _, again = tiny(name)
    assert "differs by" in again.proof.find_reason(noisy, lambda: None)
    assert "" == again.proof.find_reason(plain, lambda: None)
    assert "" == again.proof.find_reason(replace(plain, scheduler=replace(choice, settings={})), lambda: None)
    assert [f"{name} with {choice.name}, stochastic_sampling"] == [*again.proof.reasons]
    assert frozenset() == again.proof.single_classes
    assert again.proof.reasons == find_verdict(name, CONFIG)


def test_each_member_is_proved_by_what_its_own_texts_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is empty may take another branch than that of the first member; such a member runs singly."""
    _, batches = tiny()
    cls: Any = type(makers.pipelines()[NAME].make())
    original = cls.encode_prompt

    def encode_prompt(self: Any, prompt: Any, *args: Any, **options: Any) -> Any:
        return original(self, prompt if prompt != "" else "another text", *args, **options)

    monkeypatch.setattr(cls, "encode_prompt", encode_prompt)
    calls = [call(str(index), text, seeds=(index,), batching="auto") for index, text in enumerate(("a", "b", "", "c"))]
    batches.add_single(calls[0], 300.0)
    monkeypatch.setattr(BatchLimits, "limit", lambda *_: 4)
    done = batch(batches, calls)

    assert [2, 2, None, None] == [done[str(index)].outputs[0][2].get("batch") for index in range(4)]
    assert [f"{NAME} with empty prompt"] == [*batches.proof.reasons]


def test_a_failed_batch_halves_its_size() -> None:
    """The next ones have half as many members, also where batches are always made."""
    _, batches = tiny()
    key = f"{NAME} 64x64"
    calls = [call(str(seed), seeds=(seed,)) for seed in range(4)]
    batch(batches, calls)
    batches.add_failure(RuntimeError("out of memory"))
    report = batches.take_report()

    assert report is not None
    assert report.limits.get(key, 1) <= 2
    assert {key: 2} == report.ceilings
    assert {2} == {output.outputs[0][2]["batch"] for output in batch(batches, calls).values()}


def test_a_worker_begins_with_what_ended_an_earlier_one() -> None:
    """A size that the server knows to fail is not tried again, also where batches are always made."""
    pipe = makers.pipelines()[NAME].make()
    pipe.set_progress_bar_config(disable=True)
    pipe.safety_checker = None
    key = f"{NAME} 64x64"
    start = Start(ModelConfig(name="tiny", model="tiny"), NAME, WorkerOptions(device="cpu"), ceilings={key: 2})
    batches = ReportingRunner(LoadedModel(pipe, "cpu"), start).batches
    done = batch(batches, [call("four", seeds=(1, 2, 3, 4))])

    assert [2, 2, 2, 2] == [metadata["batch"] for *_, metadata in done["four"].outputs]


def test_the_memory_of_the_host_limits_batches_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many share a call as the free memory is enough for, by what a call of the size has needed."""
    _, batches = tiny()
    four, events = call("four", seeds=(1, 2, 3, 4)), Events()
    monkeypatch.setattr(measuring, "reset_host_peak", lambda: 100)
    monkeypatch.setattr(measuring, "host_peak", lambda: 100 + 1000 * events.started[-1][1])
    sizes = []
    for free in (10_000, 2500, 0):
        monkeypatch.setattr(measuring, "host_memory", lambda free=free: (free, 0))
        done = batch(batches, [four], events)["four"]
        sizes.append([metadata.get("batch") for *_, metadata in done.outputs])

    assert [[4] * 4, [2] * 4, [None] * 4] == sizes


def test_what_other_models_of_the_class_have_shown_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model with the same components reports, once it is loaded, that its calls will run singly, and why."""
    _, batches = tiny()
    reason = "an output differs"
    monkeypatch.setattr(Probe, "find_verdict", lambda *_: Verdict(reason))
    assert reason == batches.proof.find_reason(call("one", batching="auto"), lambda: None)

    other = ModelConfig(name="other", model="other")
    assert find_verdict(NAME, other) is None
    assert {NAME: reason} == find_verdict(NAME, other, {"unet": "UNet2DConditionModel"})
    assert find_verdict(NAME, other, {"unet": "OtherModel"}) is None
    _, again = tiny()
    again.proof.expect(other, NAME)
    report = again.take_report()
    assert report is not None
    assert {NAME: reason} == report.reasons


def test_a_step_cache_is_expected_to_prevent_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known before any request, and another configuration of the same model says nothing about it."""
    _, batches = tiny()
    report = PerformanceReport(applied={"cache": "first_block"})
    monkeypatch.setattr(type(batches._model.performance), "report", report)
    batches.proof.expect(CONFIG, NAME)
    assert "step cache" in batches.proof.reasons[NAME]
    assert batches.proof.find_reason(call("one", batching="auto"), lambda: None)
    assert "step cache" in str(find_verdict(NAME, CONFIG))

    changed = CONFIG.model_copy(update={"performance": CONFIG.performance.model_copy(update={"profile": "exact"})})
    assert find_verdict(NAME, changed) is None


def test_joined_lists_are_copies(shared: tuple[Runner, BatchRunner], monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that writes into the list of prompts changes neither the metadata nor a repeated call."""
    runner, batches = shared
    cls: Any = type(runner.pipelines[0])
    original = cls.encode_prompt

    def encode_prompt(self: Any, prompt: Any, *args: Any, **options: Any) -> Any:
        if isinstance(prompt, list):
            prompt[:] = [f"a template of {each}" for each in prompt]
        return original(self, prompt, *args, **options)

    monkeypatch.setattr(cls, "encode_prompt", encode_prompt)
    done = batch(batches, [call("one", seeds=(1,)), call("two", seeds=(2,))])

    assert {PROMPTS[0]} == {metadata["params"]["prompt"] for each in done.values() for *_, metadata in each.outputs}
