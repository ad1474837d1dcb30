"""Find the models whose configured device this machine does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from octabox.config.model import ACCELERATOR
from octabox.config.parsing import Entry
from octabox.config.problems import Problem

CPU = "cpu"


def names_device(entry: Entry) -> bool:
    """Return whether the configuration of a model names a device that a machine may lack."""
    return entry.config.device not in (None, CPU) or (entry.config.parallel is not None and entry.config.device != CPU)


def find_device_problems(entries: Iterable[Entry], accelerators: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each model whose device is not among the accelerators.

    Args:
        entries: The configurations.
        accelerators: The accelerators of this machine with their indices, such as ``cuda:0``.
    """
    for entry in entries:
        device = entry.config.device
        if device is not None and not has_device(device, accelerators):
            choices = ", ".join([CPU, *accelerators])
            what = "accelerator, which the model asks for," if device == ACCELERATOR else f"device {device!r}"
            hint = f"use {choices}, or leave it out to take the best there is"
            yield entry.problem(("device",), f"There is no {what} on this machine.", hint)
        elif entry.config.parallel and device != CPU:
            yield from _find_missing(entry, accelerators)


def _find_missing(entry: Entry, accelerators: Collection[str]) -> Iterator[Problem]:
    """Yield a problem where there are fewer devices than a model is split over."""
    config = entry.config
    for name in config.device_names:
        if not has_device(name, accelerators):
            yield entry.problem(("parallel", "devices"), f"There is no device {name!r} on this machine.")
            return
    found = [each for each in accelerators if config.device in (None, ACCELERATOR, each.partition(":")[0])]
    if len(found) < config.device_count and not config.device_names:
        message = f"The model is split over {config.device_count} devices, and this machine has {len(found)}."
        yield entry.problem(("parallel",), message, f"`device: {CPU}` splits it over processes of the CPU")


def has_device(device: str, accelerators: Collection[str]) -> bool:
    """Return whether a device is the CPU or one of the accelerators; without an index it is the first of its type."""
    if device.partition(":")[0] == CPU:
        return True
    if device == ACCELERATOR:
        return bool(accelerators)
    return (device if ":" in device else f"{device}:0") in accelerators
