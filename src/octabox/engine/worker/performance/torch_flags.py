"""Set flags of torch, which hold for the whole worker process."""

from __future__ import annotations

import torch

from octabox.engine.worker.performance.plan import PerformancePlan


def set_torch_flags(plan: PerformancePlan) -> None:
    """Set the cuDNN benchmark mode and the precision of float32 matrix products."""
    if plan.settings.cudnn_benchmark:
        if plan.on_cuda and torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
            torch.backends.cudnn.benchmark = True
            plan.applied["cudnn_benchmark"] = "convolutions of each new size are benchmarked once"
        else:
            plan.skip("cudnn_benchmark", f"there is no cuDNN on {plan.device}")
    if plan.settings.tf32:
        if plan.on_cuda:
            # On other devices the same flag selects smaller dtypes.
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.allow_tf32 = True
            plan.applied["tf32"] = "float32 matrices are multiplied in TF32"
        else:
            plan.skip("tf32", f"there is no TF32 on {plan.device}")
