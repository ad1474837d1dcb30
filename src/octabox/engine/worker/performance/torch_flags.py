"""Set flags of torch, which hold for the whole worker process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from octabox.engine.worker.performance.plan import PerformancePlan


@dataclass(frozen=True)
class TorchFlags:
    """Flags of torch for computing in float32 on CUDA.

    Args:
        matmul: The precision of matrix products: ``highest`` is float32, ``high`` TF32.
        convolutions_in_tf32: Whether cuDNN computes convolutions in TF32, which torch allows by default.
        benchmark: Whether cuDNN benchmarks its algorithms.
    """

    matmul: str
    convolutions_in_tf32: bool
    benchmark: bool


def set_torch_flags(plan: PerformancePlan) -> None:
    """Set the cuDNN benchmark mode and the precision of float32; what neither profile nor configuration sets is torch's."""
    default = _default_flags()
    matmul, in_tf32, benchmark = default.matmul, default.convolutions_in_tf32, default.benchmark
    if plan.settings.cudnn_benchmark:
        if plan.on_cuda and torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
            benchmark = True
            plan.applied["cudnn_benchmark"] = "convolutions of each new size are benchmarked once"
        else:
            plan.skip("cudnn_benchmark", f"there is no cuDNN on {plan.device}")
    if plan.settings.tf32:
        if plan.on_cuda:
            # On other devices the same flag selects smaller dtypes.
            matmul, in_tf32 = "high", True
            plan.applied["tf32"] = "float32 is multiplied and convolved in TF32"
        else:
            plan.skip("tf32", f"there is no TF32 on {plan.device}")
    elif plan.on_cuda and "tf32" in plan.overrides:
        # The profile `exact` leaves this to torch, as diffusers does.
        matmul, in_tf32 = "highest", False
        plan.applied["tf32"] = "float32 is multiplied and convolved in float32"
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = in_tf32
    torch.backends.cudnn.benchmark = benchmark


@cache
def _default_flags() -> TorchFlags:
    """Return the flags as they are before the first model of this process."""
    cudnn = torch.backends.cudnn
    return TorchFlags(torch.get_float32_matmul_precision(), bool(cudnn.allow_tf32), bool(cudnn.benchmark))
