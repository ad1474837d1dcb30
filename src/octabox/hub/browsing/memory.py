"""Estimate the memory of a model by the headers of its weights, and compare it with that of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub.errors import SafetensorsParsingError
from safetensors import SafetensorError

from octabox.hub.cache_layout import RemoteFile
from octabox.hub.checkpoints.tensors import Shapes
from octabox.hub.checkpoints.weight_scales import unsupported_weight
from octabox.hub.hub_messages import HUB_ERRORS, hub_api
from octabox.hub.weights import is_float

#: Memory that a pipeline needs in addition to its weights, as a factor.
OVERHEAD = 1.2

#: Bytes of a number that is loaded as it is, by its dtype in a header; others have one.
_WIDTHS = {"I64": 8, "I32": 4, "I16": 2}

#: What reading a header on the Hub raises.
_HEADER_ERRORS: tuple[type[Exception], ...] = (*HUB_ERRORS, SafetensorsParsingError)

#: Headers that are read at the same time.
_PARALLEL = 8


@dataclass(frozen=True)
class Machine:
    """The memory that models have on this machine.

    Args:
        bytes: Memory of the largest accelerator, or of the host without one.
        accelerator: Whether it is that of an accelerator.
        host: Memory of the host.
    """

    bytes: int
    accelerator: bool
    host: int


@dataclass(frozen=True)
class Weights:
    """The weights of a model.

    Args:
        parameters: Number of parameters by dtype.
        shapes: Shape of each tensor of a single file.
        dtypes: Dtype of each tensor of a single file.
    """

    parameters: Mapping[str, int]
    shapes: Shapes
    dtypes: Mapping[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of all parameters."""
        return sum(self.parameters.values())

    @property
    def dtype(self) -> str | None:
        """Dtype of most parameters."""
        return max(self.parameters, key=lambda name: self.parameters[name]) if self.parameters else None

    @property
    def supported(self) -> bool:
        """Whether they are not quantized in a format that is refused."""
        return unsupported_weight(self.shapes, self.dtypes) is None

    def memory(self, *, accelerator: bool) -> int:
        """Return the bytes that a model needs: in half precision on an accelerator, in float32 on the CPU, float8 included."""
        width = 2 if accelerator else 4
        weights = sum(
            count * (width if is_float(name) else _WIDTHS.get(name, 1)) for name, count in self.parameters.items()
        )
        return int(weights * OVERHEAD)


def machine_memory() -> Machine:
    """Return the memory of this machine, without importing torch; accelerators of other makers than NVIDIA are not found."""
    names = getattr(os, "sysconf_names", {})
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in names else 0
    program = shutil.which("nvidia-smi")
    if program is not None:
        query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            lines = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.split()
            return Machine(max(int(line) for line in lines) * 2**20, accelerator=True, host=host)
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
    return Machine(host, accelerator=False, host=host)


def fits(weights: Weights | None, machine: Machine) -> str | None:
    """Return whether a model fits into the memory: ``yes``, ``offloaded`` or ``no``; None if its size is unknown."""
    if weights is None or not weights.count:
        return None
    return fits_bytes(weights.memory(accelerator=machine.accelerator), machine)


def fits_bytes(needed: int, machine: Machine) -> str | None:
    """Return whether so many bytes fit into the memory, as `fits` does; None if the memory is unknown."""
    if not machine.bytes:
        return None
    if needed <= machine.bytes:
        return "yes"
    return "offloaded" if machine.accelerator and needed <= machine.host else "no"


def remote_weights(repo: str, commit: str, files: Iterable[RemoteFile]) -> Weights | None:
    """Return the weights of a model on the Hub by requests for parts of its files; None if they are in another format."""
    names = [each.path for each in files if each.path.endswith(".safetensors")]
    if not names:
        return None
    api, counts, shapes, dtypes = hub_api(), Counter[str](), dict[str, tuple[int, ...]](), dict[str, str]()
    try:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(lambda name: api.parse_safetensors_file_metadata(repo, name, revision=commit), names)
            for metadata in found:
                counts.update(metadata.parameter_count)
                if len(names) == 1:
                    shapes = {name: tuple(tensor.shape) for name, tensor in metadata.tensors.items()}
                    dtypes = {name: str(tensor.dtype) for name, tensor in metadata.tensors.items()}
    except _HEADER_ERRORS:
        return None
    return Weights(counts, shapes, dtypes)


def local_weights(files: Iterable[Path]) -> Weights | None:
    """Return the weights of files on this machine; None if they are in another format."""
    from safetensors import safe_open  # noqa: PLC0415 (imports numpy)

    counts, shapes, dtypes = Counter[str](), dict[str, tuple[int, ...]](), dict[str, str]()
    paths = [each for each in files if each.suffix == ".safetensors"]
    try:
        for path in paths:
            with safe_open(path, framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118 (a method)
                    tensor = opened.get_slice(name)
                    shape = tuple(tensor.get_shape())
                    size = 1
                    for each in shape:
                        size *= each
                    counts[tensor.get_dtype()] += size
                    if len(paths) == 1:
                        shapes[name], dtypes[name] = shape, tensor.get_dtype()
    except (OSError, SafetensorError):
        return None
    return Weights(counts, shapes, dtypes) if paths else None
