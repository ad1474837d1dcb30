"""The configuration of one model: what a client calls it, where its weights are, and how it is to be run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from octabox.config.performance import Performance, PerformanceConfig
from octabox.config.preset_merge import deep_merge, presets, settings_for
from octabox.prompts.names import Syntax
from octabox.types import MAX_SEED

#: Dtypes of weights; ``auto`` is float32 on a processor, else one that the device, the weights and the class have in common.
Dtype = Literal["auto", "float32", "float16", "bfloat16"]

#: Those that stand for one type.
DTYPES = tuple(name for name in get_args(Dtype) if name != "auto")

#: Types that numbers can be kept in between uses; to compute, they are brought into the component's own type.
Storage = Literal["float8_e4m3fn", "float8_e5m2"]

#: How a model shares an accelerator's memory with others; what each does stands with diffusers' methods of that name.
MemoryMode = Literal["full", "model_cpu_offload", "sequential_cpu_offload", "group_offload"]


class _Strict(BaseModel):
    """A configuration that has no key but its own, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SchedulerConfig(_Strict):
    """A noise scheduler: a class of diffusers or another name for one, and settings of its constructor."""

    name: str = Field(description="Its class or another name; docs/reference/schedulers.md has them all.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of its constructor; they may stand beside the name as well."
    )


class ComponentConfig(_Strict):
    """What differs for one component (unet, transformer, vae ...) from the model it belongs to."""

    model: str | None = Field(default=None, description="Another source: Hub id, folder or single file.")
    subfolder: str | None = Field(default=None, description="Folder of the component inside that source.")
    dtype: Dtype | None = Field(default=None, description="Type of its numbers, where it is not the model's.")
    storage: Storage | None = Field(
        default=None,
        description="Type that the weights of its layers are kept in between uses; half the memory of float16.",
    )
    quantization: dict[str, Any] | None = Field(
        default=None, description="Arguments of diffusers' quantization configuration, with `quant_backend` among them."
    )


#: What stands among the keys of a mistake for one component and for a list of them, where pydantic tells them apart.
ONE, SEVERAL = "<one>", "<several>"


def _each_with_source(parts: tuple[ComponentConfig, ...]) -> tuple[ComponentConfig, ...]:
    """Refuse a list of components of which one has no source: a model brings no such list itself."""
    if not all(part.model for part in parts):
        raise ValueError("is a list, each of which needs a `model`")
    return parts


#: Several components of one kind.
_Several = Annotated[tuple[ComponentConfig, ...], Field(min_length=1), AfterValidator(_each_with_source)]

#: A component, or a list of them where a pipeline takes several of the kind, such as ControlNets.
Components = Annotated[
    Annotated[ComponentConfig, Tag(ONE)] | Annotated[_Several, Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list | tuple) else ONE),
]

#: Strongest that a LoRA may be applied: beyond that there is only noise.
MAX_WEIGHT = 10

#: How strongly a LoRA is applied.
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class LoraConfig(_Strict):
    """A LoRA that is applied in every call of the model, where the request does not say otherwise."""

    lora: str = Field(description="Hub id, folder or file, or a name in the folder of LoRAs.", min_length=1)
    weight: Weight = Field(default=1.0, description="How strongly it is applied; 1 is as it was trained.")
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="Strength by component, such as unet or text_encoder, where it is another."
    )


class IPAdapterConfig(_Strict):
    """An IP-Adapter: weights that let a model take images as prompts."""

    model: str = Field(description="Hub id, folder or file.", min_length=1)
    subfolder: str = Field(default="", description="Folder of the file inside that source.")
    weight_name: str | None = Field(default=None, description="Name of the file, where there are several.")
    image_encoder_folder: str | None = Field(
        default="image_encoder",
        description="Folder of the image encoder, inside `subfolder` or, with a slash, inside the source.",
    )
    scale: Weight = Field(default=1.0, description="How strongly it works where a request does not say.")


#: Stands for the model's own repository, at the revision that it is loaded at.
OWN_REPOSITORY = "."

#: Names of branches, whose content changes.
_BRANCHES = {"main", "master", "HEAD"}


class RemoteCode(_Strict):
    """A repository or folder whose code may run."""

    repo: str = Field(description="Hub id or folder; `.` is the model's own.", min_length=1)
    revision: str | None = Field(
        default=None, description="Commit or tag that the code was read at, for a Hub id; the model's `revision` too."
    )

    @field_validator("revision")
    @classmethod
    def _no_branch(cls, value: str | None) -> str | None:
        """Refuse a name whose content changes."""
        if value in _BRANCHES:
            raise ValueError("must be a commit or a tag, since what is on a branch changes")
        return value


class ModelConfig(_Strict):
    """A model under the name that clients call it by."""

    name: Annotated[str, Field(description="What clients call it.", min_length=1, pattern=r"^[^\s/\\][^\\\n]*$")]
    model: str = Field(
        description="Hub id, folder, or a .safetensors, .gguf, .ckpt, .pt or .pth file; relative to the models folder.",
        min_length=1,
    )
    preset: str | None = Field(
        default=None, description="Name of a preset, whose values hold where this configuration has none."
    )
    pipeline: str | None = Field(
        default=None, description="Class of diffusers or task, where it is not the one that the model itself names."
    )
    config: str | None = Field(
        default=None,
        description="For a single file: folder or Hub id of the whole model, for what the file lacks and does not tell.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit on the Hub.")
    variant: str | None = Field(default=None, description="Variant of the weight files, such as fp16.")
    disable_mmap: bool = Field(
        default=False,
        description="Read files of weights whole, not through a map into memory: faster from network drives.",
    )
    dtype: Dtype = Field(
        default="auto",
        description="Dtype of the weights in memory; auto is float32 on a processor, else a half type in which it runs.",
    )
    device: str | None = Field(
        default=None,
        description="Such as cpu, cuda, cuda:1, mps or xpu; accelerator is one of any type; the best there is, if not given.",
    )
    scheduler: SchedulerConfig | None = Field(default=None, description="Noise scheduler in place of the model's own.")
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the pipeline that hold where a request gives none."
    )
    seed: int | None = Field(
        default=None, description="Seed of requests that give none; at random, if not given.", ge=0, le=MAX_SEED
    )
    components: dict[str, Components] = Field(default_factory=dict, description="What differs for one component.")
    adapters: tuple[LoraConfig, ...] = Field(default=(), description="LoRAs that are applied in every call.")
    ip_adapters: tuple[IPAdapterConfig, ...] = Field(default=(), description="IP-Adapters, for images as prompts.")
    prompt_syntax: Syntax | None = Field(
        default=None,
        description="How prompts are read: as they stand, or with weights as A1111 or Compel; the server's, if not given.",
    )
    memory: MemoryMode = Field(default="full", description="What is moved off the accelerator when it is not at work.")
    performance: Performance = Field(
        default_factory=PerformanceConfig, description="How fast it is to run: a profile, or a mapping."
    )
    allow_remote_code: tuple[RemoteCode, ...] = Field(
        default=(), description="Repositories whose own code may run; `true` is the model's own, at its `revision`."
    )
    description: str = Field(default="", description="A sentence for people who choose a model.")
    path: Path | None = Field(default=None, exclude=True, description="File that this configuration was read from.")

    @model_validator(mode="before")
    @classmethod
    def _with_its_preset(cls, fields: Any) -> Any:
        """Take a preset's values where there are none."""
        preset = presets().get(str(fields.get("preset"))) if isinstance(fields, dict) else None
        return fields if preset is None else deep_merge(fields, preset.settings)

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str | None) -> str | None:
        """Refuse a name that leads nowhere."""
        if value is not None and value not in presets():
            names = ", ".join(f"'{name}'" for name in presets())
            raise PydanticCustomError("literal_error", "unknown preset", {"expected": names})
        return value

    @field_validator("scheduler", mode="before")
    @classmethod
    def _scheduler_by_name(cls, value: Any) -> Any:
        """Take ``euler_a`` for ``{name: euler_a}``, and settings beside the name for settings."""
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "settings" not in value:
            settings = {key: each for key, each in value.items() if key != "name"}
            return {key: each for key, each in value.items() if key == "name"} | {"settings": settings}
        return value

    @field_validator("ip_adapters", mode="before")
    @classmethod
    def _one_ip_adapter(cls, value: Any) -> Any:
        """Take one mapping for a list of it."""
        return (value,) if isinstance(value, dict) else value

    @field_validator("allow_remote_code", mode="before")
    @classmethod
    def _remote_code_in_short(cls, value: Any) -> Any:
        """Take true for the model's own repository, false for none, and one mapping for a list of it."""
        if isinstance(value, bool):
            return ({"repo": OWN_REPOSITORY},) if value else ()
        return (value,) if isinstance(value, dict) else value

    def part(self, name: str) -> ComponentConfig:
        """Return what differs for a component that is no list; nothing does where its name is not here."""
        part = self.components.get(name, ComponentConfig())
        assert isinstance(part, ComponentConfig)  # noqa: S101 (whoever asks has taken lists apart)
        return part

    def parts(self) -> Iterator[tuple[str, ComponentConfig]]:
        """Yield the name and the configuration of every component, those of a list one by one."""
        for name, parts in self.components.items():
            for part in parts if isinstance(parts, tuple) else (parts,):
                yield name, part

    def without_storage(self) -> ModelConfig:
        """Return this configuration with nothing said of how weights are kept between uses."""
        plain = {"storage": None}
        components = {
            name: tuple(part.model_copy(update=plain) for part in parts)
            if isinstance(parts, tuple)
            else parts.model_copy(update=plain)
            for name, parts in self.components.items()
        }
        return self.model_copy(update={"components": components})

    def as_a(self, pipeline: str) -> ModelConfig:
        """Return this configuration, for a model of a class, with what holds for that class where it says nothing."""
        preset = settings_for(pipeline)
        if not preset:
            return self
        own = self.model_dump(exclude_unset=True)
        return ModelConfig.model_validate({**deep_merge(own, preset), "path": self.path})


def way(loc: Iterable[str | int]) -> tuple[str | int, ...]:
    """Return the way to a value that pydantic refused, as the configuration's author knows it."""
    return tuple(part for part in loc if part not in {ONE, SEVERAL})
