"""Which generators of random numbers belong to the device.

Torch makes none for a device of Python, so those of the device are the host's own. An operator is given another Python
object for the same generator, so they are known by the address of what stands behind.
"""

from __future__ import annotations

import ctypes

import torch

#: The devices of generators that are not of the host, by the address of their implementation.
GENERATORS: dict[int, torch.device] = {}


def implementation(generator: torch._C.Generator) -> int:
    """Return the address of a generator's implementation, which follows the header of the Python object."""
    return ctypes.c_size_t.from_address(id(generator) + object.__basicsize__).value


def generator_device(generator: torch._C.Generator) -> torch.device:
    """Return the device that a generator draws for."""
    return GENERATORS.get(implementation(generator), torch.device("cpu"))
