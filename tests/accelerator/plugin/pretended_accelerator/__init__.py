"""A pretended accelerator: a device of torch in plain Python, for tests on machines that have no GPU.

Its tensors are ordinary tensors of torch's PrivateUse1 device, named ``fake``, with their own sizes, strides and storages;
their memory is the host's. Every operator runs on the host. What CUDA refuses is refused:

- tensors of two devices in one operator, a generator of another device, ``.numpy()`` of a tensor that is not on the host;
- more memory than there is, dtypes that the device lacks, devices that are not there;
- any use after a device-side assert, and in a fork of a process that has used the device.

It counts operators, allocated and copied bytes, and initializations by process.

torch loads it by its entry point of the group ``torch.backends``, in every process whose ``PYTHONPATH`` has the
folder above and whose environment sets ``PRETENDED_ACCELERATOR``. Other settings are in `settings.Settings`;
`control.Control` changes them in a process that runs.

Where to look:

- ``settings.py``: what can be set, by environment variables, by a file or by a test;
- ``driver.py``: the state of a process: whether it has initialized the device, faults, forks, counts;
- ``memory.py``: tensors from the host to the device and back without a copy, and the count of bytes;
- ``operators.py``: running and refusing operators;
- ``interface.py``: ``torch.fake`` and what ``torch.accelerator`` knows of it;
- ``control.py``: what tests use.

It does not show speed, streams, limits of real kernels, or code that names ``cuda``. It relies on private names of torch.
"""

from __future__ import annotations

import importlib
import os

from pretended_accelerator.control import Control
from pretended_accelerator.settings import PREFIX, Settings

__all__ = ["Control", "Settings", "autoload", "control"]

_control: Control | None = None


def autoload() -> None:
    """Install the device if the environment enables it; torch calls this at the end of its import."""
    global _control  # noqa: PLW0603 (a process has one device)
    if os.environ.get(PREFIX, "") in ("", "0") or _control is not None:
        return
    from pretended_accelerator.driver import Driver  # noqa: PLC0415 (what follows needs torch)
    from pretended_accelerator.interface import install  # noqa: PLC0415

    driver = Driver()
    install(driver)
    _control = Control(driver)
    if driver.settings.initialize_at_import:
        driver.use()


def control() -> Control:
    """Return the control of this process's device.

    Raises:
        RuntimeError: This process has none.
    """
    importlib.import_module("torch")  # which installs the device, where that has not been done
    if _control is None:
        raise RuntimeError(f"This process has no pretended accelerator: {PREFIX} was not set when it imported torch.")
    return _control
