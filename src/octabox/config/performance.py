"""Performance settings: profiles, and single settings that override them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

#: Whether runs that wait share a call: where it is proved and faster, never, or wherever it is proved.
Batching = Literal["auto", "never", "always"]

#: On how many devices a model is loaded: on one and, where waiting requests need it, others; or always on so many.
Replicas = Literal["auto"] | Annotated[int, Field(ge=1, le=64)]

#: Profiles: bitwise equal to diffusers, visually lossless, lossy.
Profile = Literal["exact", "fast", "turbo"]

#: Variable with the folder in which torch keeps compiled code.
COMPILED_CODE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

#: Parts of a denoiser to compile; ``auto`` selects its repeated blocks or all of it.
Compile = Literal["off", "auto", "regional", "whole"]

#: Modes of ``torch.compile``.
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

#: Modes that record CUDA graphs, which need the complete model at fixed addresses.
GRAPH_MODES = frozenset({"reduce-overhead", "max-autotune"})

#: Aliases of attention backends in other programs.
ATTENTION_ALIASES = {"sdp": "native", "sdpa": "native"}

#: Cache methods: the best that the model supports, and none.
AUTO_CACHE, NO_CACHE = "auto", "off"


class _Strict(BaseModel):
    """A frozen part of a configuration without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CacheConfig(_Strict):
    """A step cache, which reuses a denoiser's results of a step in later ones."""

    method: str = Field(
        default=AUTO_CACHE, description="`auto`, `off`, `cache_dit`, or a cache of diffusers such as first_block_cache."
    )
    budget: float | None = Field(
        default=None,
        description="Relative change up to which a step is skipped; only for caches that measure it.",
        gt=0,
        le=1,
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the cache, by the library's names.")


def _read_cache(value: Any) -> Any:
    """Accept the name of a cache for a mapping; YAML 1.1 reads ``off`` as false."""
    if value is False:
        return {"method": NO_CACHE}
    return {"method": value} if isinstance(value, str) else value


class PerformanceConfig(_Strict):
    """Performance settings of a model; those that are not set are the profile's."""

    profile: Profile | None = Field(
        default=None,
        description="exact is bitwise equal to diffusers, fast visually lossless, turbo lossy. Default: the server's.",
    )
    compile: Compile | None = Field(
        default=None, description="Parts of a denoiser to compile: off, auto, regional (its repeated blocks) or whole."
    )
    compile_mode: CompileMode | None = Field(default=None, description="Mode of torch.compile.")
    compile_backend: str | None = Field(default=None, description="Backend of torch.compile; inductor by default.")
    compile_dynamic: bool | None = Field(
        default=None,
        description="Whether one compilation serves all sizes; by default, from the second size on.",
    )
    channels_last: bool | None = Field(
        default=None, description="Whether weights of convolutions are in the channels-last memory format."
    )
    fuse_qkv: bool | None = Field(default=None, description="Whether attention fuses its projections.")
    attention: str | None = Field(
        default=None, description="Attention backend by diffusers' name, such as native (sdp), flash or xformers."
    )
    cudnn_benchmark: bool | None = Field(default=None, description="Whether cuDNN benchmarks convolutions.")
    tf32: bool | None = Field(
        default=None,
        description="Whether float32 is multiplied and convolved as TF32 on CUDA; torch only convolves so.",
    )
    cache: Annotated[CacheConfig, BeforeValidator(_read_cache)] | None = Field(
        default=None, description="Step cache: a name, or a mapping."
    )

    @field_validator("compile", mode="before")
    @classmethod
    def _read_compile(cls, value: Any) -> Any:
        """Accept true for ``auto`` and false for ``off``."""
        return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("attention", mode="before")
    @classmethod
    def _read_attention(cls, value: Any) -> Any:
        """Replace another program's name of a backend by diffusers'."""
        return ATTENTION_ALIASES.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_mode(self) -> PerformanceConfig:
        """Refuse CUDA graphs of single blocks: each block would overwrite the results of the previous one."""
        if self.compile == "regional" and self.compile_mode in GRAPH_MODES:
            raise ValueError("must be 'whole' for this `compile_mode`; 'regional' requires the default mode")
        return self

    @property
    def overrides(self) -> dict[str, Any]:
        """The single settings, which override the profile's."""
        return self.model_dump(exclude_none=True, exclude={"profile"})


def _read_performance(value: Any) -> Any:
    """Accept the name of a profile for a mapping."""
    return {"profile": value} if isinstance(value, str) else value


#: Performance settings in a configuration: the name of a profile, or a mapping.
Performance = Annotated[PerformanceConfig, BeforeValidator(_read_performance)]

_EXACT = PerformanceConfig(
    profile="exact",
    compile="off",
    compile_mode="default",
    compile_backend="inductor",
    channels_last=False,
    fuse_qkv=False,
    cudnn_benchmark=False,
    tf32=False,
    cache=CacheConfig(method=NO_CACHE),
)
_FAST = _EXACT.model_copy(
    update={
        "profile": "fast",
        "compile": "auto",
        "channels_last": True,
        "fuse_qkv": True,
        "cudnn_benchmark": True,
        "tf32": True,
    }
)
# The budget is that of the first block cache's authors for FLUX.
_TURBO = _FAST.model_copy(update={"profile": "turbo", "cache": CacheConfig(budget=0.08)})

#: The settings of each profile.
PROFILES: dict[str, PerformanceConfig] = {"exact": _EXACT, "fast": _FAST, "turbo": _TURBO}


def effective_settings(config: PerformanceConfig, default: Profile) -> PerformanceConfig:
    """Return the performance settings of a model, completed by its profile.

    Args:
        config: Performance settings of the model's configuration.
        default: Profile of models that select none.
    """
    profile = PROFILES[config.profile or default]
    update = {name: getattr(config, name) for name in type(config).model_fields if getattr(config, name) is not None}
    return profile.model_copy(update=update)
