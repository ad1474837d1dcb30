"""Memory modes on the pretended device: what each holds, and components that are used in unusual ways."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from calling import call, run
from control import PARAMS, PLAIN, embedded, runner
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement.offload import Placement
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import OutOfMemoryError
from octabox.types import AdapterChoice
from pretended_accelerator import Control
from trained import HEARTS

OFFLOADING = ("model_cpu_offload", "sequential_cpu_offload", "group_offload")
WIDTH = 64


class Component(torch.nn.Module):
    """A component that pipelines use by more than its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(8, WIDTH)
        self.layer, self.other = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.attention = torch.nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.shift = torch.nn.Parameter(torch.full((WIDTH,), 0.5))
        self.register_buffer("scale", torch.full((WIDTH,), 2.0))

    @property
    def device(self) -> torch.device:
        """The device of its weights, as models of diffusers and transformers report it."""
        return next(self.parameters()).device

    def forward(self, given: torch.Tensor, cache: list[Any] | None = None) -> torch.Tensor:
        """Compute, and leave something in a list."""
        if cache is not None:
            cache.append(given)
        made: torch.Tensor = self.layer(given) * self.scale + self.shift
        return made

    def encode(self, given: torch.Tensor) -> torch.Tensor:
        """Compute by parts of it."""
        made: torch.Tensor = self.other(given)
        return made

    def attend(self, given: torch.Tensor) -> torch.Tensor:
        """Compute by a layer that reads the weights of another."""
        made: torch.Tensor = self.attention(given, given, given, need_weights=False)[0]
        return made

    def tied(self, given: torch.Tensor) -> torch.Tensor:
        """Compute with the weights of a table."""
        return torch.nn.functional.linear(self.encode(given), self.table.weight)


def by_forward(part: Component) -> torch.Tensor:
    """Call it, with inputs on the host."""
    made: torch.Tensor = part(torch.ones(1, 2, WIDTH))
    return made


def by_table(part: Component) -> torch.Tensor:
    """Look up embeddings on the device that the component reports."""
    found: torch.Tensor = part.table(torch.tensor([[1, 2]], device=part.device))
    return found


def by_method(part: Component) -> torch.Tensor:
    """Call another method than its forward pass."""
    return part.encode(torch.ones(1, 2, WIDTH, device=part.device))


def by_attention(part: Component) -> torch.Tensor:
    """Let a layer read the weights of another."""
    return part.attend(torch.ones(1, 2, WIDTH, device=part.device))


def by_tied_weights(part: Component) -> torch.Tensor:
    """Compute with weights whose module is not called."""
    return part.tied(torch.ones(1, 2, WIDTH, device=part.device))


@pytest.mark.parametrize("mode", OFFLOADING)
@pytest.mark.parametrize("use", [by_forward, by_table, by_method, by_attention, by_tied_weights])
def test_components_are_found_however_they_are_used(
    accelerator: Control, mode: str, use: Callable[[Component], torch.Tensor]
) -> None:
    """The result is that of the host, it is on the device, and afterwards no weight is there."""
    torch.manual_seed(0)
    part = Component().eval().requires_grad_(requires_grad=False)
    wanted = use(part)
    gc.collect()
    held, placement = accelerator.allocated(), Placement(mode, "fake:0")
    placement.install({"part": part, "setting": 3})
    waiting = accelerator.allocated()
    for _ in range(2):
        with placement.call_scope():
            made = use(part)
            assert "fake" == made.device.type
            assert "fake" == part.device.type
        made = made.cpu()
        gc.collect()
        assert torch.allclose(wanted, made, atol=1e-5)
        assert waiting == accelerator.allocated()

    assert waiting - held < 2 * WIDTH * 4 + 1


@pytest.mark.parametrize("mode", ["sequential_cpu_offload", "group_offload"])
def test_each_weight_is_moved_once(accelerator: Control, mode: str) -> None:
    """By the hooks alone: nothing copies a weight that they have moved."""
    part = Component().eval().requires_grad_(requires_grad=False)
    given = torch.ones(1, 2, WIDTH)
    placement = Placement(mode, "fake:0")
    placement.install({"part": part})
    with placement.call_scope():
        part(given)
    accelerator.forget_counts()
    with placement.call_scope():
        part(given)

    everything = sum(each.nbytes for each in [*part.parameters(), *part.buffers()])
    used = sum(each.nbytes for each in part.layer.parameters())
    assert used <= accelerator.bytes_to_device - given.nbytes <= everything


def test_a_change_of_mode_that_runs_out_of_memory_changes_nothing(accelerator: Control) -> None:
    """The components are offloaded as before, and compute."""
    part = Component().eval().requires_grad_(requires_grad=False)
    placement = Placement("model_cpu_offload", "fake:0")
    placement.install({"first": Component(), "part": part})
    gc.collect()
    before = accelerator.allocated()
    placement.reason = "It is small."
    wanted = by_forward(part).cpu()
    accelerator.fail("out of memory", after=4)
    with pytest.raises(torch.OutOfMemoryError):
        placement.change_mode("full", "There is room.")

    assert ("model_cpu_offload", "It is small.") == (placement.mode, placement.reason)
    placement.restore()
    gc.collect()
    assert before == accelerator.allocated()
    with placement.call_scope():
        assert torch.allclose(wanted, by_forward(part).cpu())
    placement.leave_device("Another model needs the memory.")
    accelerator.fail("out of memory", after=4)
    with pytest.raises(torch.OutOfMemoryError):
        placement.change_mode("full", "There is room.")
    assert {"cpu"} == {each.device.type for each in part.parameters()}
    assert "model_cpu_offload" == placement.mode
    placement.change_mode("full", "There is room.")
    assert {"fake"} == {each.device.type for each in part.parameters()}


@pytest.mark.parametrize("mode", ["model_cpu_offload", "sequential_cpu_offload"])
def test_what_a_component_writes_to_is_the_pipelines_own(mode: str) -> None:
    """A list argument stays the same object although another input is moved to the device."""
    part, cache = Component().requires_grad_(requires_grad=False), list[Any]()
    placement = Placement(mode, "fake:0")
    placement.install({"part": part})
    with placement.call_scope():
        part(torch.ones(1, 2, WIDTH), cache)

    assert ["fake"] == [each.device.type for each in cache]


def call_of(model: Runner, *adapters: AdapterChoice, **fields: Any) -> np.ndarray:
    """Return the image of a short call."""
    wanted = call(PLAIN, {**PARAMS, "num_inference_steps": 2}, **fields)
    object.__setattr__(wanted.runs[0], "adapters", adapters)
    return np.asarray(run(model, wanted).outputs[0][0].value)


def test_what_each_mode_holds(accelerator: Control) -> None:
    """All draw the same; whole components take less than the model, and layers less than components."""
    images, peaks = [], []
    for mode in ("full", "encoder_offload", "model_cpu_offload", "group_offload", "sequential_cpu_offload"):
        model = runner(memory=mode, device="fake", dtype="float32")
        gc.collect()
        torch.accelerator.reset_peak_memory_stats()
        images.append(call_of(model))
        peaks.append(accelerator.peak())
        del model
        gc.collect()

    assert all(np.abs(images[0].astype(int) - each).max() <= 1 for each in images)
    assert peaks[0] > peaks[1] > peaks[2] > max(peaks[3:])


def test_a_remembered_prompt_needs_no_encoder(accelerator: Control) -> None:
    """What an encoder made lies on the host, is found again wherever the weights have been, and moves nothing."""
    model = runner(memory="model_cpu_offload", device="fake", dtype="float32")
    moved = []
    for _ in range(3):
        accelerator.forget_counts()
        call_of(model)
        moved.append(accelerator.bytes_to_device)
    encoder = sum(each.nbytes for each in model.pipelines[0].text_encoder.parameters())

    assert (4, 2) == (model._embed_cache.hits, model._embed_cache.misses)
    # What is found is copied to the device instead.
    assert moved[1] < moved[0] - 0.9 * encoder
    assert moved[1] == moved[2]


def test_loras_stay_beside_their_layers_where_memory_is_short(accelerator: Control) -> None:
    """Without memory for merged weights, or if it runs out during the merge, the image is the same within rounding."""
    model, lora = runner(device="fake", dtype="float32"), AdapterChoice(HEARTS)
    merged = call_of(model, lora)
    call_of(model)
    accelerator.fail("out of memory", after=5, operator="aten::mm")
    interrupted = call_of(model, lora)
    assert model._loras._applied is None
    gc.collect()
    torch.accelerator.reset_peak_memory_stats()
    call_of(model)
    accelerator.settings.memory = accelerator.peak() + 1_000_000
    short = call_of(model, lora)

    assert model._loras._applied is None
    assert all(np.abs(merged.astype(int) - each).max() <= 1 for each in (interrupted, short))


def controlled(**fields: Any) -> TrialRunner:
    """Return what runs the embedded model in the mode that it selects itself."""
    config = embedded(device="fake", dtype="float32", **fields)
    start = Start(config, PLAIN, WorkerOptions(device="cpu"))
    return TrialRunner(load(config, PLAIN, start.options), start)


def image_of(model: TrialRunner, **params: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the image of a short call, and its warnings."""
    model.note_state()
    output = model.run(call(PLAIN, {**PARAMS, "num_inference_steps": 2, **params}), lambda _: None, lambda: None)
    return np.asarray(output.outputs[0][0].value).astype(int), output.warnings


def test_the_mode_follows_the_free_memory(accelerator: Control) -> None:
    """With less memory, less of the model stays on the device; the image is the same, and the reason has the numbers."""
    model = controlled()
    first, _ = image_of(model)
    assert "full" == model.modes.memory().mode
    total = sum(
        each.nbytes
        for part in (model.pipelines[0].unet, model.pipelines[0].vae, model.pipelines[0].text_encoder)
        for each in part.parameters()
    )
    encoder = sum(each.nbytes for each in model.pipelines[0].text_encoder.parameters())
    working = model.modes.predictor.working(128 * 128)
    found = []
    for needed in (total + working, total - encoder // 2 + working, total // 2 + working):
        accelerator.settings.memory = round(needed / 0.9) + 2**16
        image, _ = image_of(model)
        found.append(model.modes.memory().mode)
        assert np.abs(first - image).max() <= 1
    accelerator.settings.memory = 0
    for _ in range(2):
        image_of(model)

    assert "full" == found[0]
    assert "full" not in found[1:]
    assert "full" == model.modes.memory().mode
    assert "All weights and the call need" in model.modes.memory().reason


@pytest.mark.parametrize("lora", [(), (AdapterChoice(HEARTS),)])
def test_a_call_that_runs_out_of_memory_is_run_again(accelerator: Control, lora: tuple[AdapterChoice, ...]) -> None:
    """Once, in the next mode that needs less, with a warning; what it needed is learned."""
    model = controlled()
    request = call(PLAIN, {**PARAMS, "num_inference_steps": 2})
    object.__setattr__(request.runs[0], "adapters", lora)
    model.note_state()
    first = np.asarray(model.run(request, lambda _: None, lambda: None).outputs[0][0].value).astype(int)
    accelerator.fail("out of memory", after=40, operator="aten::convolution")
    model.note_state()
    output = model.run(request, lambda _: None, lambda: None)

    assert np.abs(first - np.asarray(output.outputs[0][0].value).astype(int)).max() <= 1
    assert (
        "Memory ran out with `memory: full`: the request was run again with `memory: encoder_offload`."
        in output.warnings
    )
    measured = model.modes.memory()
    assert (1, "encoder_offload") == (measured.out_of_memory, measured.mode)
    accelerator.fail("out of memory", after=40, operator="aten::convolution")
    accelerator.fail("out of memory", after=80, operator="aten::convolution")
    model.note_state()
    with pytest.raises(torch.OutOfMemoryError):
        model.run(request, lambda _: None, lambda: None)


def test_a_configured_mode_is_kept(accelerator: Control) -> None:
    """The user has decided; the failure is only counted."""
    model = controlled(memory="full")
    accelerator.fail("out of memory", after=40, operator="aten::convolution")
    with pytest.raises(torch.OutOfMemoryError):
        image_of(model)

    assert ("full", 1) == (model.modes.memory().mode, model.modes.memory().out_of_memory)


def test_a_call_that_fits_in_no_mode_is_refused(accelerator: Control) -> None:
    """Measured calls predict it: the error has the numbers before anything is computed, and smaller calls are served."""
    model = controlled()
    image_of(model)
    image_of(model, width=64, height=64)
    accelerator.settings.memory = 60_000_000
    with pytest.raises(OutOfMemoryError, match=r"even in the mode group_offload") as raised:
        image_of(model, width=2048, height=2048)

    assert (raised.value.requested or 0) > (raised.value.free or 0) > 0
    assert "Request a smaller size." in raised.value.hint
    image_of(model, width=64, height=64)
