"""All checks in their order: the most valuable first, since a budget may end before the last."""

from __future__ import annotations

from functools import partial

from gpu_checks.checks.batches import time_batches
from gpu_checks.checks.building import build_model
from gpu_checks.checks.faults import cancel, kill, run_out_of_memory
from gpu_checks.checks.modes import serve
from gpu_checks.checks.profiles import serve_profile
from gpu_checks.checks.ratios import compare_with_direct
from gpu_checks.checks.swaps import swap
from gpu_checks.checks.workers import start_worker
from gpu_checks.models import architectures
from gpu_checks.runner import Check

#: The models of full size.
ARCHITECTURES = architectures(tiny=False)

#: Headings of the tables.
MODELS, WORKERS, RATIOS, MODES = "Models", "Workers", "Served and direct", "Memory modes and dtypes, served"
FAULTS, SWAPS, BATCHES, PROFILES = "Faults", "Swaps", "Batches (direct calls)", "Profiles, served"


def covered(kind: str, value: str, model: str = "") -> str:
    """Return the name of something that a check covers.

    Args:
        kind: ``memory``, ``dtype``, ``profile`` or ``batches`` (by memory mode).
        value: The mode, the dtype or the profile.
        model: The model, where each model is to be covered.
    """
    return " ".join(filter(None, (model, kind, value)))


def _build(model: str, cost: float, limit: float) -> Check:
    return Check(f"build {model}", MODELS, partial(build_model, model=model), cost, limit)


def _mode(model: str, memory: str, cost: float, limit: float, calls: int = 2) -> Check:
    # The profile is the default one; one load serves to check both.
    run = partial(serve, model=model, label=memory, calls=calls, memory=memory, performance="exact")
    covers = {covered("memory", memory, model), covered("profile", "exact", model), covered("profile", "exact")}
    covers.add(covered("dtype", ARCHITECTURES[model].dtype))
    return Check(f"{model} {memory}", MODES, run, cost, limit, (f"build {model}",), frozenset(covers))


def _dtype(model: str, dtype: str, cost: float, limit: float) -> Check:
    run, covers = partial(serve, model=model, label=dtype, dtype=dtype), frozenset({covered("dtype", dtype)})
    return Check(f"{model} {dtype}", MODES, run, cost, limit, (f"build {model}",), covers)


def _batches(model: str, memory: str, cost: float, limit: float) -> Check:
    run, covers = partial(time_batches, model=model, memory=memory), frozenset({covered("batches", memory)})
    return Check(f"{model} batches {memory}", BATCHES, run, cost, limit, (f"build {model}",), covers)


def _profile(model: str, profile: str, cost: float, limit: float) -> Check:
    run = partial(serve_profile, model=model, profile=profile)
    covers = frozenset({covered("profile", profile, model), covered("profile", profile)})
    return Check(f"{model} {profile}", PROFILES, run, cost, limit, (f"build {model}",), covers)


def _worker(model: str, cost: float, limit: float) -> Check:
    run, covers = partial(start_worker, model=model), frozenset({covered("dtype", "auto")})
    return Check(f"{model} worker", WORKERS, run, cost, limit, (f"build {model}",), covers)


#: The checks: name, what is expected to take how many seconds on a recent accelerator, and after how many it is ended. The
#: first ones, up to the swaps, fit into the default budget together: each memory mode of each model, each dtype, each profile.
CHECKS: tuple[Check, ...] = (
    _build("sd15", 15, 90),
    _worker("sd15", 25, 90),
    _mode("sd15", "full", 6, 60),
    Check("sd15 ratio", RATIOS, partial(compare_with_direct, model="sd15"), 15, 90, ("build sd15",)),
    Check("out of memory", FAULTS, partial(run_out_of_memory, model="sd15"), 10, 60, ("build sd15",)),
    Check("cancel", FAULTS, partial(cancel, model="sd15"), 6, 60, ("build sd15",)),
    Check("kill", FAULTS, partial(kill, model="sd15"), 8, 60, ("build sd15",)),
    _mode("sd15", "encoder_offload", 6, 60),
    _mode("sd15", "model_cpu_offload", 6, 60),
    _mode("sd15", "group_offload", 8, 60),
    _mode("sd15", "sequential_cpu_offload", 14, 90),
    _dtype("sd15", "float32", 7, 60),
    _build("sdxl", 15, 90),
    *(_mode("sdxl", memory, 10, 60) for memory in ("full", "encoder_offload", "model_cpu_offload")),
    _mode("sdxl", "group_offload", 12, 90),
    _mode("sdxl", "sequential_cpu_offload", 16, 120),
    _batches("sd15", "full", 8, 90),
    _batches("sd15", "model_cpu_offload", 10, 90),
    _batches("sd15", "group_offload", 12, 90),
    _batches("sd15", "sequential_cpu_offload", 18, 120),
    _build("flux", 40, 150),
    _mode("flux", "full", 16, 90),
    _mode("flux", "encoder_offload", 16, 90),
    _mode("flux", "model_cpu_offload", 20, 90),
    _mode("flux", "group_offload", 24, 120),
    _mode("flux", "sequential_cpu_offload", 20, 150, calls=1),
    _profile("sd15", "fast", 75, 180),
    _profile("sd15", "turbo", 20, 120),
    Check("sd15 swaps", SWAPS, partial(swap, model="sd15"), 60, 150, ("build sd15",)),
    _dtype("sd15", "bfloat16", 6, 60),
    _profile("flux", "fast", 75, 180),
    _profile("flux", "turbo", 40, 120),
    _profile("sdxl", "fast", 75, 180),
    _profile("sdxl", "turbo", 40, 120),
    Check("sdxl ratio", RATIOS, partial(compare_with_direct, model="sdxl"), 40, 90, ("build sdxl",)),
    _dtype("sdxl", "float32", 20, 90),
    _dtype("sdxl", "bfloat16", 15, 60),
    _dtype("sdxl", "auto", 15, 60),
    _dtype("flux", "auto", 25, 90),
)
