"""Resolution of performance settings before a model is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.config.model import ModelConfig
from octabox.config.performance import NO_CACHE
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.performance.plan import PerformancePlan, plan_performance
from octabox.engine.worker.performance.torch_flags import set_torch_flags
from octabox.errors import LoadError, MissingDependencyError


def plan(performance: Any, device: str = "cpu", profile: Any = "exact", **fields: Any) -> PerformancePlan:
    """Return the plan of a model with these settings."""
    config = ModelConfig(name="m", model="x", performance=performance, **fields)
    return plan_performance(config, WorkerOptions(profile=profile), device)


def test_nothing_is_set_where_nothing_is_said() -> None:
    """A model without a profile has the server's, which is exact by default."""
    assert "exact" == plan({}).settings.profile
    assert "fast" == plan({}, profile="fast").settings.profile
    assert "exact" == plan("exact", profile="fast").settings.profile


@pytest.mark.parametrize(
    ("performance", "choice"),
    [
        ({"attention": "flashh"}, "native"),
        ({"cache": "first_block"}, "first_block_cache"),
        ({"cache": {"method": "first_block_cache", "settings": {"limit": 1}}}, "threshold"),
        ({"cache": {"method": "taylor_seer_cache", "budget": 0.1}}, "cache_interval"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(performance: dict[str, Any], choice: str) -> None:
    """The error names the setting and the possible values."""
    with pytest.raises(LoadError) as caught:
        plan(performance)

    assert f"performance.{next(iter(performance))}" == caught.value.parameter
    assert choice in caught.value.choices


@pytest.mark.parametrize(
    ("performance", "package"),
    [
        ({"attention": "xformers"}, "xformers"),
        ({"attention": "sage"}, "sageattention"),
        ({"cache": "cache_dit"}, "cache-dit"),
    ],
)
def test_a_missing_package_is_named(performance: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that needs a missing package names it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)

    with pytest.raises(MissingDependencyError, match=package) as caught:
        plan(performance)

    assert caught.value.choices


def test_compiling_layers_that_move_one_by_one_is_refused() -> None:
    """In the configuration it is an error; in a profile it is skipped with a reason."""
    with pytest.raises(LoadError, match="sequential_cpu_offload") as caught:
        plan({"compile": "whole"}, "cuda", memory="sequential_cpu_offload")
    profile = plan("fast", "cuda", memory="sequential_cpu_offload")

    assert ("off",) == caught.value.choices
    assert ("off", ["compile"], []) == (profile.settings.compile, list(profile.skipped), profile.warnings)


def test_cuda_graphs_need_weights_that_stay() -> None:
    """With parts that move they are refused, with the modes that work; elsewhere than on CUDA they have no effect."""
    with pytest.raises(LoadError) as caught:
        plan({"compile": "auto", "compile_mode": "max-autotune"}, "cuda", memory="group_offload")
    elsewhere = plan({"compile": "auto", "compile_mode": "reduce-overhead"})

    assert "max-autotune-no-cudagraphs" in caught.value.choices
    assert ["compile_mode"] == list(elsewhere.skipped)
    assert "no CUDA graphs" in elsewhere.warnings[0]


def test_switches_of_cuda_are_left_alone_elsewhere() -> None:
    """What a configuration states is a warning then, what a profile sets is not."""
    stated, profile = plan({"tf32": True}), plan("fast")
    set_torch_flags(stated)
    set_torch_flags(profile)

    assert ["`performance.tf32` has no effect: there is no TF32 on cpu."] == stated.warnings
    assert ({"cudnn_benchmark", "tf32"}, []) == (set(profile.skipped), profile.warnings)


@pytest.mark.parametrize(
    ("setting", "value"), [("compile", "regional"), ("fuse_qkv", True), ("cache", "first_block_cache")]
)
def test_a_model_that_is_split_takes_no_setting_that_each_process_would_decide(setting: str, value: Any) -> None:
    """Those of a profile are left out; one of the configuration is refused."""
    found = plan({}, profile="turbo", parallel=2)

    assert {"compile", "fuse_qkv", "cache"} == set(found.skipped)
    assert ("off", False, NO_CACHE) == (
        found.settings.compile,
        found.settings.fuse_qkv,
        found.settings.cache and found.settings.cache.method,
    )
    with pytest.raises(LoadError, match=f"`performance.{setting}` is not possible: the model is split by `parallel`"):
        plan({setting: value}, parallel=2)
