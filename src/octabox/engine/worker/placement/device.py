"""Choose the device of a model, and list the available devices."""

from __future__ import annotations

import inspect

import torch

from octabox.config.model import ACCELERATOR
from octabox.engine.messages import BadFork, DeviceMemory, Survey
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.process_memory import free_memory, reports_memory
from octabox.errors import LoadError


def choose_device(requested: str | None, model: str) -> str:
    """Return the device to use and make it the current one, before a context is created on another one.

    Args:
        requested: Device such as ``cuda:1``; ``accelerator`` is the first of any type, None is that one or the CPU.
        model: Name of the model, for errors.

    Returns:
        The device with its index, such as ``cuda:1``, or ``cpu``.

    Raises:
        LoadError: The requested device is not available.
    """
    names = [] if requested == "cpu" else device_names()
    if requested is None:
        requested = names[0] if names else "cpu"
    try:
        device = torch.device(names[0] if requested == ACCELERATOR and names else requested)
        name = f"{device.type}:{device.index or 0}" if device.type != "cpu" else "cpu"
        if name in names:
            torch.accelerator.set_device_index(device.index or 0)
        torch.zeros(1, device=name).item()  # A device without data, such as meta, fails here too.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise  # The device exists.
        raise _not_available(requested, model, names, str(error)) from error
    return name


def device_names() -> list[str]:
    """Return the names of the available accelerators with their indices, such as ``cuda:0``."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return [f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())] if accelerator else []


def survey_devices(*, always_free: bool = False) -> Survey:
    """Return the accelerators, with the free memory of each if there is more than one.

    Reading free memory creates a context on each device, so the calling process should end soon.

    Args:
        always_free: Whether to read the free memory of a single accelerator, too.
    """
    names = device_names()
    reads = always_free or len(names) > 1
    free = [free_memory(name) if reads else None for name in names]
    return Survey(tuple(DeviceMemory(name, each, reports_memory(name)) for name, each in zip(names, free, strict=True)))


def find_bad_fork() -> BadFork | None:
    """Return the accelerators that were initialized before this process was forked and cannot be used; None if none."""
    # Each device module of torch has this function, those of plugins too. It is looked up without side effects.
    checks = {name: inspect.getattr_static(module, "_is_in_bad_fork", None) for name, module in vars(torch).items()}
    bad = sorted(name for name, check in checks.items() if check and getattr(torch, name)._is_in_bad_fork())  # noqa: SLF001
    return BadFork(tuple(bad)) if bad else None


def _not_available(requested: str | None, model: str, names: list[str], reason: str) -> LoadError:
    """Return the error that lists the devices that there are."""
    choices = ["cpu", *names]
    reason = reason.strip().partition("\n")[0].rstrip(".")
    return LoadError(
        f"Model '{model}' asks for device '{requested}', which is not here: {reason}.",
        hint=f"Set `device` to one of {', '.join(choices)}, or leave it out to take the best there is.",
        model=model,
        parameter="device",
        choices=choices,
    )
