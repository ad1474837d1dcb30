"""Settings, counts and faults of the device in a test's process."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretended_accelerator.driver import Driver
    from pretended_accelerator.settings import Settings


class Control:
    """Changes and counts the device of this process."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def settings(self) -> Settings:
        """The settings; a change takes effect with the next operator."""
        return self._driver.settings

    @property
    def operators(self) -> Counter[str]:
        """How often each operator has run, by its name, such as ``aten::convolution``."""
        return self._driver.operators

    @property
    def operators_on(self) -> Counter[int]:
        """How many operators have run on each device, by its index."""
        return self._driver.operators_on

    @property
    def bytes_to_device(self) -> int:
        """Bytes copied from the host."""
        return self._driver.bytes_to_device

    @property
    def bytes_to_host(self) -> int:
        """Bytes copied to the host."""
        return self._driver.bytes_to_host

    @property
    def initializations(self) -> int:
        """How often this process has initialized the device: once, or never."""
        return self._driver.initializations

    @property
    def poisoned(self) -> bool:
        """Whether a fault has made the device unusable."""
        return self._driver.poison is not None

    @property
    def bad_fork(self) -> bool:
        """Whether this process is a fork of one that had used the device."""
        return self._driver.bad_fork

    @bad_fork.setter
    def bad_fork(self, value: bool) -> None:
        self._driver.bad_fork = value

    def allocated(self, index: int = 0) -> int:
        """Return the bytes that tensors of a device hold."""
        return self._driver.memory.allocated[index]

    def reserved(self, index: int = 0) -> int:
        """Return the bytes that tensors of a device hold, and those kept for reuse."""
        return self._driver.memory.reserved[index]

    def peak(self, index: int = 0) -> int:
        """Return the most bytes that tensors of a device have held."""
        return self._driver.memory.peak[index]

    def fail(self, kind: str, after: int = 1, operator: str = "") -> None:
        """Let a later operator fail.

        Args:
            kind: One of `driver.FAULTS`.
            after: Which one fails; 1 is the next.
            operator: The name of the operators that count; empty where all do.
        """
        from pretended_accelerator.driver import FAULTS, Fault  # noqa: PLC0415 (it needs torch)

        assert kind in FAULTS, f"{kind!r} must be one of {', '.join(FAULTS)}"
        self._driver.faults.append(Fault(kind, after, operator))

    def forget_counts(self) -> None:
        """Reset the counts of operators and copied bytes."""
        self._driver.forget_counts()

    def reset(self) -> None:
        """Reset everything except memory that is in use."""
        initial = type(self.settings).from_environment()
        for name, value in vars(initial).items():
            setattr(self.settings, name, value)
        driver = self._driver
        driver.faults.clear()
        driver.poison, driver.bad_fork, driver.current = None, False, 0
        driver.forget_counts()
        driver.memory.empty_cache()
        driver.memory.peak = Counter(driver.memory.allocated)
