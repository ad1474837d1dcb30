"""Compiled modules, mostly with backends that need no C++ compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch._dynamo
import torch._inductor

from octabox.config.model import ModelConfig
from octabox.config.performance import COMPILED_CODE_VARIABLE, PROFILES, CompileMode, PerformanceConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.performance.compiler import Compiler, check_backend
from octabox.engine.worker.performance.optimizations import AppliedPerformance, apply_performance
from octabox.engine.worker.performance.plan import PerformancePlan, plan_performance
from octabox.errors import LoadError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]

#: A process that compiles a small module by inductor, and prints what was found on disk.
COMPILE = """
import torch
from octabox.config.performance import PROFILES
from octabox.engine.worker.performance.compiler import Compiler, compiled_code_counts

class Module(torch.nn.Module):
    def forward(self, states):
        return torch.nn.functional.gelu(states) + 1

compiler, module = Compiler(PROFILES["fast"]), Module()
compiler.compile("m", module)
with torch.no_grad():
    module(torch.ones(2, 4))
print(*compiled_code_counts(), compiler.failure)
"""


class Block(torch.nn.Module):
    """A block that a denoiser repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return other states."""
        return torch.nn.functional.gelu(self.layer(states))


class Denoiser(torch.nn.Module):
    """A denoiser of repeated blocks."""

    _repeated_blocks = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])

    def compile_repeated_blocks(self, **options: Any) -> None:
        """Compile them, as diffusers does."""
        for block in self.blocks:
            block.compile(**options)

    def forward(self, sample: torch.Tensor, timestep: int) -> torch.Tensor:
        """Return the noise."""
        for block in self.blocks:
            sample = block(sample)
        return sample * timestep


def broken(*_: Any) -> Any:
    """Fail as a compiler without its tools does."""
    raise RuntimeError("no tools")


torch._dynamo.register_backend(broken, name="broken")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Let nothing that was compiled stay."""
    yield
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def settings(**fields: Any) -> PerformanceConfig:
    """Return settings that compile without a C++ compiler."""
    return PROFILES["fast"].model_copy(update={"compile_backend": "eager", **fields})


@torch.no_grad()
def call(module: torch.nn.Module, batch: int = 2) -> torch.Tensor:
    """Return the output of a denoiser."""
    answer = module(torch.ones(batch, 4), 3)
    assert isinstance(answer, torch.Tensor)
    return answer


@pytest.mark.parametrize(("how", "words"), [("auto", "repeated"), ("regional", "repeated"), ("whole", "whole")])
def test_a_compiled_module_gives_the_same_and_tells_when_it_is_compiled(how: str, words: str) -> None:
    """On the CPU the repeated blocks are compiled by default; each compilation is reported once for all blocks."""
    module = Denoiser()
    before, compiler, told = call(module), Compiler(settings(compile=how)), list[str]()
    described = compiler.compile("unet", module)
    with compiler.watch(lambda: told.append("compiling")):
        answers = [call(module), call(module)]

    assert words in described
    assert ["compiling"] == told
    assert all(torch.equal(before, each) for each in answers)
    assert [] == compiler.take_warnings()


def test_a_class_without_repeated_blocks_is_compiled_as_a_whole() -> None:
    """The returned description names what is compiled."""
    assert "whole module" in Compiler(settings(compile="regional")).compile("m", torch.nn.Linear(4, 4))


def test_cuda_graphs_are_of_the_whole() -> None:
    """With a mode that records them, blocks are not compiled one by one."""
    assert "whole module" in Compiler(settings(compile_mode="reduce-overhead")).compile("unet", Denoiser())


class Recorded(Denoiser):
    """A denoiser that keeps the options with which it is compiled."""

    def compile(self, **options: Any) -> None:
        """Keep them."""
        self.options = options
        super().compile(**options)


@pytest.mark.parametrize("mode", get_args(CompileMode))
def test_the_mode_is_passed_to_torch(mode: str) -> None:
    """Each mode of the configuration is one that torch has, and reaches it; its own default is none."""
    module = Recorded()
    Compiler(settings(compile="whole", compile_mode=mode)).compile("unet", module)

    assert mode == module.options.get("mode", "default")
    assert mode == "default" or mode in torch._inductor.list_mode_options()


def test_a_failure_costs_no_call() -> None:
    """The module runs uncompiled in that call and later ones, with one warning."""
    module = Denoiser()
    before, compiler = call(module), Compiler(settings(compile_backend="broken"))
    compiler.compile("unet", module)
    answers = [call(module), call(module)]

    assert all(torch.equal(before, each) for each in answers)
    assert ["no tools" in each for each in compiler.take_warnings()] == [True]
    assert [] == compiler.take_warnings()


class Broken(Block):
    """A block with a call that the compiler leaves to Python."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return other states."""
        torch._dynamo.graph_break()
        return super().forward(states)


def test_a_graph_break_is_told_once() -> None:
    """In the warnings of the response that follows, and in the status, which has it still."""
    module = Denoiser()
    module.blocks[0], module.last = Broken(), torch.nn.Identity()
    config = PerformanceConfig(
        profile="fast", compile_backend="eager", compile="whole", channels_last=False, fuse_qkv=False
    )
    plan = plan_performance(ModelConfig(name="m", model="m", performance=config), WorkerOptions(), "cpu")
    performance = apply_performance(None, {"unet": module}, plan)
    assert "graph break" not in performance.report.applied["compile"]
    with performance.running(None, lambda _: None):
        call(module)
    told = performance.take_warnings()

    assert ["graph break" in each for each in told] == [True]
    assert [] == performance.take_warnings()
    assert "graph breaks (1)" in performance.report.applied["compile"]


def test_a_failure_is_in_the_status() -> None:
    """The setting is among those that are skipped, with the reason."""
    module, compiler = Denoiser(), Compiler(settings(compile_backend="broken"))
    plan = PerformancePlan("m", "cpu", settings(), applied={"compile": compiler.compile("unet", module)})
    performance = AppliedPerformance(plan, compiler=compiler, denoisers={"unet": module})
    call(module)

    assert "no tools" in performance.report.skipped["compile"]
    assert "compile" not in performance.report.applied


def test_an_error_of_the_module_is_its_own() -> None:
    """What a call itself does wrong is raised, and the compiled code stays."""
    module, compiler = Denoiser(), Compiler(settings())
    compiler.compile("unet", module)
    call(module)
    with pytest.raises(RuntimeError), torch.no_grad():
        module(torch.ones(2, 5), 3)

    assert "no tools" not in compiler.failure


def test_compilations_are_bounded_and_the_end_of_them_is_told() -> None:
    """Beyond the limit of variants a module runs uncompiled, with one warning and correct results."""
    module, plain = Denoiser(), Denoiser()
    plain.load_state_dict(module.state_dict())
    compiler = Compiler(settings(compile="whole", compile_dynamic=False))
    compiler.compile("unet", module)
    with compiler.watch(lambda: None):
        right = [torch.equal(call(plain, batch), call(module, batch)) for batch in range(2, 14)]

    assert all(right)
    assert 8 == compiler.compilations
    assert ["limit" in each for each in compiler.take_warnings()] == [True]


def test_one_compilation_serves_all_sizes_where_that_is_asked_for() -> None:
    """With dynamic sizes another batch is no reason to compile again."""
    module, compiler = Denoiser(), Compiler(settings(compile="whole", compile_dynamic=True))
    compiler.compile("unet", module)
    with compiler.watch(lambda: None):
        for batch in range(2, 8):
            call(module, batch)

    assert 1 == compiler.compilations


def test_an_unknown_backend_is_refused_with_the_choices() -> None:
    """The error names those that torch has here."""
    with pytest.raises(LoadError) as caught:
        check_backend("tensorflow", "m")

    assert {"inductor", "eager"} <= set(caught.value.choices)


@pytest.mark.timeout(900)
def test_compiled_code_is_found_on_disk_by_the_next_process(tmp_path: Path) -> None:
    """The first process compiles, the second one loads from disk."""
    environ = {**os.environ, COMPILED_CODE_VARIABLE: str(tmp_path / "compiled")}
    counts = [
        subprocess.run(
            [sys.executable, "-c", COMPILE], capture_output=True, text=True, check=True, env=environ
        ).stdout.split()
        for _ in range(2)
    ]

    assert ["0", "1"] == counts[0]
    assert (1, "0") == (min(1, int(counts[1][0])), counts[1][1])
    assert any((tmp_path / "compiled").iterdir())
