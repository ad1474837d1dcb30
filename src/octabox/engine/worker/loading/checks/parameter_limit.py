"""Refuse a component whose configuration states far more layers than its weights have, while it is built.

Building layers takes time and memory before any weight is read, so that a number of layers that is damaged, or set to
harm, would keep the process busy for hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn.modules.module import register_module_parameter_registration_hook

from octabox.errors import IncompatibleWeightsError, OctaboxError
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.folder import CHECKPOINT_SUFFIXES
from octabox.hub.weights import weight_files

#: How many parameters a component may have for each tensor of its weights: files may have several in one tensor.
PER_TENSOR = 100

#: Parameters that each component may have. Models of diffusers have a few thousand; these are built in a few seconds.
MIN_LIMIT = 10_000


@contextmanager
def limit_parameters(model: str, component: str, place: Path) -> Iterator[None]:
    """Within the context, raise an error if modules with far more parameters are built than the weights have tensors.

    Args:
        model: Name of the model.
        component: Name of the component that is built.
        place: Its folder or file.

    Raises:
        IncompatibleWeightsError: They are.
    """
    tensors = _count_tensors(place)
    limit, count = max(MIN_LIMIT, PER_TENSOR * tensors), 0

    def check(_module: object, _name: str, _parameter: Any) -> None:
        nonlocal count
        count += 1
        if count > limit:
            raise IncompatibleWeightsError(
                f"Model '{model}': the configuration of {component} in {place} states more than {limit} weights, "
                f"and its files have {tensors}.",
                hint="Its config.json is damaged or of another model; download it again.",
                model=model,
            )

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _count_tensors(place: Path) -> int:
    """Return the number of tensors in the weight files of a component; files that cannot be read count as none."""
    files = [place] if place.is_file() else [each.path for each in weight_files(place)] if place.is_dir() else []
    count = 0
    for file in files:
        if file.suffix.lower() in CHECKPOINT_SUFFIXES:
            try:
                count += len(read_shapes(file))
            except (OctaboxError, OSError):
                continue  # Loading reports it.
    return count
