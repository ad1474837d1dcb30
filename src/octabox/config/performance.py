"""How fast a model is to run, and at what price: profiles, and single settings that are stronger than them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

#: Names of sets of settings: bitwise as diffusers, lossless to the eye, lossy.
Profile = Literal["exact", "fast", "turbo"]

#: What of a denoiser is compiled; ``auto`` chooses between its repeated blocks and the whole.
Compile = Literal["off", "auto", "regional", "whole"]

#: Modes of ``torch.compile``, by its own names.
CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

#: Modes that record CUDA graphs, which need the whole model at fixed places in memory.
GRAPH_MODES = frozenset({"reduce-overhead", "max-autotune"})

#: Other names of attention backends, as other programs call them.
ATTENTION_ALIASES = {"sdp": "native", "sdpa": "native"}

#: Name of the step cache that is chosen by what the model supports, and of none.
AUTO_CACHE, NO_CACHE = "auto", "off"


class _Strict(BaseModel):
    """A part of a configuration that has no key but its own, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CacheConfig(_Strict):
    """A step cache: what a denoiser computed in one step is used again in the next ones."""

    method: str = Field(
        default=AUTO_CACHE, description="`auto`, `off`, `cache_dit`, or a cache of diffusers such as first_block_cache."
    )
    budget: float | None = Field(
        default=None,
        description="Relative change of a step up to which it is left out; only of caches that measure it.",
        gt=0,
        le=1,
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the cache by the library's own names."
    )


def _read_cache(value: Any) -> Any:
    """Take the name of a cache for a mapping with it; YAML 1.1 reads ``off`` as false."""
    if value is False:
        return {"method": NO_CACHE}
    return {"method": value} if isinstance(value, str) else value


class PerformanceConfig(_Strict):
    """How fast a model is to run; a setting that is not given is that of the profile."""

    profile: Profile | None = Field(
        default=None,
        description="exact is bitwise as diffusers, fast lossless to the eye, turbo lossy; the server's, if not given.",
    )
    compile: Compile | None = Field(
        default=None, description="What of a denoiser is compiled: off, auto, regional (its repeated blocks) or whole."
    )
    compile_mode: CompileMode | None = Field(default=None, description="Mode of torch.compile.")
    compile_backend: str | None = Field(default=None, description="Backend of torch.compile; inductor, if not given.")
    compile_dynamic: bool | None = Field(
        default=None,
        description="Whether one compilation serves every size; if not given, from the second size on.",
    )
    channels_last: bool | None = Field(
        default=None, description="Whether weights of convolutions are kept with the channels last."
    )
    fuse_qkv: bool | None = Field(default=None, description="Whether attention computes its projections as one.")
    attention: str | None = Field(
        default=None, description="Attention backend by diffusers' name, such as native (sdp), flash or xformers."
    )
    cudnn_benchmark: bool | None = Field(default=None, description="Whether cuDNN tries its convolutions out.")
    tf32: bool | None = Field(default=None, description="Whether float32 is multiplied as TF32 on CUDA.")
    cache: Annotated[CacheConfig, BeforeValidator(_read_cache)] | None = Field(
        default=None, description="Step cache: a name, or a mapping."
    )

    @field_validator("compile", mode="before")
    @classmethod
    def _read_compile(cls, value: Any) -> Any:
        """Take true for ``auto`` and false for ``off``."""
        return {True: "auto", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("attention", mode="before")
    @classmethod
    def _read_attention(cls, value: Any) -> Any:
        """Take another program's name for diffusers' one."""
        return ATTENTION_ALIASES.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_mode(self) -> PerformanceConfig:
        """Refuse CUDA graphs of single blocks: the results of one would be overwritten by the next."""
        if self.compile == "regional" and self.compile_mode in GRAPH_MODES:
            raise ValueError("must be 'whole' for this `compile_mode`; 'regional' goes with default")
        return self

    @property
    def overrides(self) -> dict[str, Any]:
        """The single settings that are given, as they are written."""
        return self.model_dump(exclude_none=True, exclude={"profile"})


def _read_performance(value: Any) -> Any:
    """Take the name of a profile for a mapping with it."""
    return {"profile": value} if isinstance(value, str) else value


#: What a configuration may say of it: the name of a profile, or a mapping.
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
# The budget is the one that the authors of the first block cache name for FLUX.
_TURBO = _FAST.model_copy(update={"profile": "turbo", "cache": CacheConfig(budget=0.08)})

#: The settings of each profile.
PROFILES: dict[str, PerformanceConfig] = {"exact": _EXACT, "fast": _FAST, "turbo": _TURBO}


def effective_settings(config: PerformanceConfig, default: Profile) -> PerformanceConfig:
    """Return all settings that hold for a model: its own, then those of its profile.

    Args:
        config: What the model's configuration says.
        default: Profile of models that name none.
    """
    profile = PROFILES[config.profile or default]
    own = {name: getattr(config, name) for name in type(config).model_fields if getattr(config, name) is not None}
    return profile.model_copy(update=own)
