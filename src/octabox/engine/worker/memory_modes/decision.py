"""The memory modes that `memory: auto` selects from, and which of them fits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from octabox.engine.memory.units import format_bytes

#: The modes, from the fastest to the one that needs least.
MODES = ("full", "encoder_offload", "model_cpu_offload", "group_offload")

#: The modes in which encoders leave the device before the first step.
ENCODERS_LEAVE = ("encoder_offload", "model_cpu_offload")

#: Groups of layers that group offloading holds on the device: the one in use, and the next one.
GROUPS = 2


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of a model's weights.

    Args:
        components: Bytes by component.
        encoders: Components that encode prompts and images before the first step.
        denoisers: Components that are used in each step, and so together.
        groups: Largest number of bytes that the layers in use of a component take with group offloading.
    """

    components: Mapping[str, int]
    encoders: frozenset[str] = frozenset()
    denoisers: frozenset[str] = frozenset()
    groups: int = 0

    def needed(self, mode: str, working: int) -> int:
        """Return the bytes that a call needs on the device in a mode.

        Args:
            mode: One of `MODES`.
            working: Bytes that it needs in addition to the weights.
        """
        sizes = self.components
        encoders = [size for name, size in sizes.items() if name in self.encoders]
        rest = {name: size for name, size in sizes.items() if name not in self.encoders}
        if mode == "full":
            return sum(sizes.values()) + working
        if mode == "encoder_offload":
            # Encoders have left the device before the first step.
            return sum(rest.values()) + max(working, *encoders, 0)
        if mode == "model_cpu_offload":
            together = sum(size for name, size in rest.items() if name in self.denoisers)
            others = [size for name, size in sizes.items() if name not in self.denoisers]
            return max([together, *others], default=0) + working
        return self.groups + working

    def without_encoders(self) -> WeightSizes:
        """Return the sizes without the components that encode, which leave the device in modes that offload them."""
        return replace(
            self, components={name: size for name, size in self.components.items() if name not in self.encoders}
        )

    def halved(self, name: str) -> WeightSizes:
        """Return the sizes with one component stored in half as many bytes."""
        return replace(self, components={**self.components, name: self.components[name] // 2})


@dataclass(frozen=True)
class Decision:
    """A memory mode, and why it was selected.

    Args:
        mode: The mode.
        needed: Bytes that the call needs in it.
        available: Bytes that the device has for it; None if they are not known.
        reason: Why it was selected, as a sentence.
        advice: What would make a faster mode fit; empty if nothing is known.
    """

    mode: str
    needed: int
    available: int | None
    reason: str
    advice: str = ""

    @property
    def fits(self) -> bool:
        """Whether the device has what the call needs."""
        return self.available is None or self.needed <= self.available


def decide(
    sizes: WeightSizes, working: int, available: int | None, device: str, excluded: Collection[str] = ()
) -> Decision:
    """Return the fastest memory mode that fits, or the one that needs least if none does.

    Args:
        sizes: The model's weights.
        working: Bytes that the call needs in addition to them.
        available: Bytes that the device has; None if they are not known.
        device: Name of the device, for the reason.
        excluded: Modes in which memory has run out.
    """
    needs = {mode: sizes.needed(mode, working) for mode in MODES}
    if available is None:
        return Decision("full", needs["full"], None, f"The free memory of {device} is not known.")
    mode = next((mode for mode in MODES if needs[mode] <= available and mode not in excluded), MODES[-1])
    full = f"All weights and the call need {format_bytes(needs['full'])}"
    free = f"{device} has {format_bytes(available)} for them"
    if mode == "full":
        return Decision(mode, needs[mode], available, f"{full}, and {free}.")
    if needs["full"] <= available:
        return Decision(mode, needs[mode], available, "Memory has run out in the modes that need more.")
    reason = f"{full}, and {free}; this mode needs {format_bytes(needs[mode])}."
    return Decision(mode, needs[mode], available, reason, _advice(sizes, working, available))


def _advice(sizes: WeightSizes, working: int, available: int) -> str:
    """Return what would make all weights fit; the model is never quantized without being asked."""
    if not sizes.components:
        return ""
    largest = max(sizes.components, key=lambda name: sizes.components[name])
    in_8_bits = sizes.halved(largest)
    for what, smaller in (
        ("`storage: float8_e4m3fn`", in_8_bits),
        ("a 4-bit `quantization`", in_8_bits.halved(largest)),
    ):
        if smaller.needed("full", working) <= available:
            return f"With {what} of '{largest}', `memory: full` would fit."
    return "A smaller size needs less." if working > available / 2 else ""


@dataclass(frozen=True)
class DecodeEstimate:
    """What decoding an image takes, as long as no call was measured.

    Args:
        bytes_per_pixel: Bytes for each pixel of the output.
        tile_pixels: Pixels of a tile; 0 if the decoder has no tiles.
    """

    bytes_per_pixel: int = 0
    tile_pixels: int = 0

    def working_bytes(self, pixels: int, *, tiled: bool) -> int:
        """Return the bytes that decoding needs.

        Args:
            pixels: Pixels of an image or a frame, times their number.
            tiled: Whether it is decoded in tiles, which overlap by a quarter.
        """
        decoded = min(pixels, self.tile_pixels * 5 // 4) if tiled and self.tile_pixels else pixels
        return self.bytes_per_pixel * decoded


#: No decoder that anything is known of.
UNKNOWN_DECODER = DecodeEstimate()

#: Share of the device's memory from which on decoding is done in tiles.
TILING_SHARE = 0.25


@dataclass
class SizeHistory:
    """The sizes of the last calls, so that a model does not change its mode with each of them."""

    length: int = 4
    _sizes: list[int] = field(default_factory=list)

    def largest(self, size: int) -> int:
        """Add a size, and return the largest of the last ones."""
        self._sizes = [*self._sizes, size][-self.length :]
        return max(self._sizes)
