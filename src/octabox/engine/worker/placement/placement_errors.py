"""Recognize exceptions of tensors that are on the wrong device, and of operators that a device does not have."""

from __future__ import annotations

import re
from typing import Literal

from octabox.engine.worker.placement.device_errors import QUOTING_EXCEPTIONS, causes

#: Patterns of torch's messages about tensors or generators that are not on the device of the others.
PLACEMENT_PATTERNS = (
    # "Expected all tensors to be on the same device", "expected to be in the same device", "to have the same device type"
    r"\b(?:on|in|at|have|has|expected|expects) (?:the )?same (?:cuda )?(?:devices?|GPU)\b",
    r"\bnot at the same device\b",
    r"\b(?:on|have|has|located on) different (?:devices?|GPUs?)\b|\bto a storage on different device\b",
    r"\bdifferent from other tensors on\b",
    # As in: Tensor for argument weight is on cpu but expected on mps
    r"\bbut expected (?:it |them |one |all )?(?:to be )?on\b|\bexpected to be on (?:CPU|GPU|CUDA)\b",
    r"\bto be (?:a |an )?(?:dense )?(?:CPU|GPU|CUDA|HIP|XPU|MPS) tensors?\b",
    r"\bmust be (?:a |an )?(?:dense )?(?:CPU|GPU|CUDA|HIP|XPU|MPS) tensors?\b",
    r"\b(?:to be|must be|be) on (?:the )?(?:CPU|GPU|CUDA)\b",
    r"\b(?:got|received|found)(?: \w+){0,3} (?:tensors? )?on device\b",
    r"\bexpected device \S+ but got\b|\b(?:expected|unexpected) device type\b",
    r"\bdevice type of \w+ \(|\bdoes not match (?:\w+'s |the )?device type\b|\bmust match device type\b",
    r"\bdevice type for generator\b|\bcannot generate a \S+ tensor from a generator of type\b",
    r"\bdevice type tensor to numpy\b|\bCPU tensors? (?:is|are) (?:required|expected)\b",
    r"\bonly (?:available|implemented|supported) (?:on|for) (?:dense )?CPU(?: tensors?)?\b|\bonly dense CPU tensors\b",
    # The input has the type torch.cuda.FloatTensor and the weight torch.FloatTensor, or the reverse
    r"\binput type \(torch\.(?!\w+Tensor)\w+\.\w+Tensor\) and \w+ type \(torch\.\w+Tensor\) should be the same",
    r"\binput type \(torch\.\w+Tensor\) and \w+ type \(torch\.(?!\w+Tensor)\w+\.\w+Tensor\) should be the same",
    r"\bincompatible tensor type\b",
    r"\bplaceholder storage has not been allocated\b",
    r"\bcannot copy out of meta tensor\b|\bon the meta device\b|\bcannot be called on meta tensors\b",
)

#: Patterns of torch's messages about operators that a device does not have.
OPERATOR_PATTERNS = (
    r"\bcould not run '\S+' (?:with arguments )?from the '\S+' backend\b",
    r"\b(?:operator|op) '\S+' is not (?:currently )?(?:implemented|supported) (?:for|on) the \w+ device\b",
    r"\bonly supported on .*\bdevices?\b",
    r"\bunsupported device type\b|\bdevice type not supported\b|\bnot support(?:ed)? device type\b",
)

_PLACEMENT, _OPERATOR = (
    re.compile("|".join(patterns), re.IGNORECASE) for patterns in (PLACEMENT_PATTERNS, OPERATOR_PATTERNS)
)


def placement_cause(error: BaseException, *, quotes: bool) -> Literal["placement", "operator"] | None:
    """Return whether tensors were on the wrong device, or a device lacks an operator; None if neither.

    Args:
        error: The exception; those that it was raised from count too.
        quotes: Whether the message of an invalid argument may quote the caller's input, which is not matched then.
    """
    for each in causes(error):
        if quotes and isinstance(each, QUOTING_EXCEPTIONS):
            continue
        if _PLACEMENT.search(str(each)):
            return "placement"
        if _OPERATOR.search(str(each)):
            return "operator"
    return None
