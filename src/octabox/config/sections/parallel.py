"""The key of a model that is split over several devices, by the parallelism of diffusers."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

#: The most devices of a model.
MAX_DEVICES = 64

#: End of the names of diffusers' settings that state over how many devices a model is split.
DEGREE = "_degree"

#: Keys of a model that no combination with parallelism is known of, and the only values that they may have.
SINGLE_VALUES: dict[str, tuple[Any, ...]] = {
    "memory": ("auto", "full"),
    "batching": ("auto", "never"),
    "replicas": ("auto", 1),
    "ip_adapters": ((),),
}


class ParallelConfig(BaseModel):
    """How a model is split over devices: their number or names, or the settings of diffusers' parallelism."""

    model_config = ConfigDict(extra="allow", frozen=True)

    devices: Annotated[int, Field(ge=2, le=MAX_DEVICES)] | tuple[str, ...] | None = Field(
        default=None,
        description="How many devices, or their names such as cuda:0; by default as many as the degrees need.",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of diffusers' `ContextParallelConfig` or `TensorParallelConfig`."""
        return dict(self.model_extra or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the devices; empty where they are not chosen yet."""
        return self.devices if isinstance(self.devices, tuple) else ()

    @property
    def size(self) -> int:
        """The number of devices."""
        if self.devices is None:
            return prod(self._degrees.values())
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def _degrees(self) -> dict[str, int]:
        return {name: value for name, value in self.settings.items() if name.endswith(DEGREE)}

    @model_validator(mode="after")
    def _check_size(self) -> ParallelConfig:
        """Refuse degrees that are not numbers, and those that another number of devices is stated for."""
        degrees = self._degrees
        for name, value in degrees.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"must have a whole number of 1 or more as `{name}`")
        if not 2 <= self.size <= MAX_DEVICES:  # noqa: PLR2004 (one device is not parallel)
            raise ValueError(f"must be for 2 to {MAX_DEVICES} devices: a number, `devices`, or degrees of diffusers")
        if degrees and prod(degrees.values()) != self.size:
            raise ValueError(f"must have degrees whose product is {self.size}, the number of its `devices`")
        if len(set(self.names)) < len(self.names) and set(self.names) != {"cpu"}:
            raise ValueError("must have different `devices`")
        return self


def _read_parallel(value: Any) -> Any:
    """Accept the number of devices for a mapping; one device is not parallel."""
    if isinstance(value, int) and not isinstance(value, bool):
        return None if value == 1 else {"devices": value}
    return value


#: How a model is split in a configuration: the number of devices, or a mapping.
Parallel = Annotated[ParallelConfig | None, BeforeValidator(_read_parallel)]


class Parallelized(BaseModel):
    """A model that may be split over several devices."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    parallel: Parallel = Field(
        default=None,
        description="Over how many devices one copy of the model is split: a number, or settings of diffusers such as "
        "ulysses_degree or tp_degree.",
    )

    @property
    def device_count(self) -> int:
        """The number of devices of one copy of the model."""
        return self.parallel.size if self.parallel else 1

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices of one copy of the model, the first of which is its ``device``; empty if that is the only one."""
        return self.parallel.names if self.parallel else ()

    @model_validator(mode="after")
    def _check_combinations(self) -> Parallelized:
        """Refuse what diffusers' parallelism is not known to work with."""
        if self.parallel is None:
            return self
        for name, values in SINGLE_VALUES.items():
            if getattr(self, name, values[0]) not in values:
                allowed = " or ".join(str(value) for value in values) if values[0] else "none"
                raise ValueError(f"must have no other `{name}` than {allowed}, since the model is split by `parallel`")
        for name, part in getattr(self, "parts", tuple)():
            found = [key for key in ("quantization", "storage") if getattr(part, key, None)]
            if found:
                raise ValueError(f"must not have `{found[0]}` of '{name}', since the model is split by `parallel`")
        if ":" in (getattr(self, "device", None) or "") and not self.device_names:
            raise ValueError("must have a `device` without an index, since the model is split by `parallel`")
        return self
