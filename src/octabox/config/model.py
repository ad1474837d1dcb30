"""The configuration of a model: its name, the source of its weights, and how it is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from octabox.config.cascades.stages import Staged
from octabox.config.memory.durations import Duration
from octabox.config.memory.modes import MemoryMode
from octabox.config.performance import Batching, Performance, PerformanceConfig, Replicas
from octabox.config.preset_merge import deep_merge, presets, settings_for
from octabox.config.sections.parallel import Parallelized
from octabox.config.sections.paths import PathText
from octabox.config.sections.scheduler import Scheduled
from octabox.prompts.names import Syntax

#: Maximum seed: torch's generator on a CPU, which makes all noise, reads 32 bits, so that larger seeds repeat smaller ones.
MAX_SEED = 2**32 - 1

#: Dtypes of weights; ``auto`` is float32 on a CPU, else one that the device, the weights and the class have in common.
Dtype = Literal["auto", "float32", "float16", "bfloat16"]

#: How images are returned: by a link, or in the response.
ResponseFormat = Literal["url", "b64_json"]

#: Device name for the best accelerator of any type.
ACCELERATOR = "accelerator"

#: Dtypes without ``auto``.
DTYPES = tuple(name for name in get_args(Dtype) if name != "auto")

#: Dtypes of layerwise casting: weights are stored in one of these and cast to the component's dtype to compute.
Storage = Literal["float8_e4m3fn", "float8_e5m2"]


class _Strict(BaseModel):
    """A frozen configuration without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ComponentConfig(_Strict):
    """Settings of a component (unet, transformer, vae ...) that differ from the model's."""

    model: PathText | None = Field(default=None, description="Another source: Hub id, folder or single file.")
    subfolder: PathText | None = Field(default=None, description="Folder of the component inside that source.")
    dtype: Dtype | None = Field(default=None, description="Dtype, if it differs from the model's.")
    storage: Storage | None = Field(
        default=None, description="Dtype of its layers' weights between uses; half the memory of float16."
    )
    quantization: dict[str, Any] | None = Field(
        default=None, description="Arguments of diffusers' quantization configuration, with `quant_backend` among them."
    )
    omit: bool = Field(default=False, description="Whether to leave the component out; `null` for it means the same.")


#: Tags of a component and of a list of components, which pydantic adds to the location of an error.
ONE, SEVERAL = "<one>", "<several>"


def _each_with_source(parts: tuple[ComponentConfig, ...]) -> tuple[ComponentConfig, ...]:
    """Refuse a list of components of which one has no source: no model has such a list itself."""
    if not all(part.model for part in parts):
        raise ValueError("must have a `model` for each component of the list")
    return parts


#: Several components of the same kind.
_Several = Annotated[tuple[ComponentConfig, ...], Field(min_length=1), AfterValidator(_each_with_source)]

#: A component, or a list if a pipeline takes several of the kind, such as ControlNets.
Components = Annotated[
    Annotated[ComponentConfig, Tag(ONE)] | Annotated[_Several, Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list | tuple) else ONE),
]

#: Maximum weight of a LoRA; beyond it the output is noise.
MAX_WEIGHT = 10

#: Weight of a LoRA.
Weight = Annotated[float, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class LoraConfig(_Strict):
    """A LoRA that is applied in every call of the model unless the request overrides it."""

    lora: PathText = Field(description="Hub id, folder or file, or a name in the folder of LoRAs.", min_length=1)
    weight: Weight = Field(default=1.0, description="Weight; 1 is as trained.")
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="Weight by component, such as unet or text_encoder, if it differs."
    )


class IPAdapterConfig(_Strict):
    """An IP-Adapter: weights by which a model takes images as prompts."""

    model: PathText = Field(description="Hub id, folder or file.", min_length=1)
    subfolder: PathText = Field(default="", description="Folder of the file inside that source.")
    weight_name: PathText | None = Field(default=None, description="Name of the file, if there are several.")
    image_encoder_folder: PathText | None = Field(
        default="image_encoder",
        description="Folder of the image encoder, inside `subfolder` or, with a slash, inside the source.",
    )
    scale: Weight = Field(default=1.0, description="Scale of requests that set none.")


#: The repository of the model itself, at the revision that it is loaded at.
MODEL_REPOSITORY = "."

#: Names of branches, which are not fixed revisions.
_BRANCHES = {"main", "master", "HEAD"}


class RemoteCode(_Strict):
    """A repository or folder whose code may be executed."""

    repo: PathText = Field(description="Hub id or folder; `.` is the model's own.", min_length=1)
    revision: PathText | None = Field(
        default=None, description="Reviewed commit or tag of a Hub id; it applies to the model's `revision` as well."
    )

    @field_validator("revision")
    @classmethod
    def _no_branch(cls, value: str | None) -> str | None:
        """Refuse the name of a branch."""
        if value in _BRANCHES:
            raise ValueError("must be a commit or a tag, since the content of a branch changes")
        return value


#: Name of a model.
ModelName = Annotated[str, Field(min_length=1, pattern=r"^[^\s/\\][^\\\n]*$")]


class ModelConfig(_Strict, Parallelized, Scheduled, Staged):
    """The configuration of a model."""

    name: ModelName = Field(description="Name for clients.")
    aliases: tuple[ModelName, ...] = Field(default=(), description="Other names for clients, of the same process.")
    model: PathText = Field(
        description="Hub id, folder, or a .safetensors, .gguf, .ckpt, .pt or .pth file; relative to the models folder.",
        min_length=1,
    )
    preset: str | None = Field(
        default=None, description="Name of a preset, whose values apply to keys that are not set here."
    )
    pipeline: str | None = Field(
        default=None, description="Class of diffusers or task, if it is not the one that the model itself names."
    )
    config: PathText | None = Field(
        default=None,
        description="For a single file: folder or Hub id of the complete model, for components and settings it lacks.",
    )
    revision: PathText | None = Field(default=None, description="Branch, tag or commit on the Hub.")
    variant: PathText | None = Field(default=None, description="Variant of the weight files, such as fp16.")
    disable_mmap: bool = Field(
        default=False,
        description="Read weight files into memory instead of mapping them: faster from network drives.",
    )
    dtype: Dtype = Field(
        default="auto",
        description="Dtype of the weights in memory; auto is float32 on a CPU, else a half-precision dtype that works.",
    )
    device: str | None = Field(
        default=None,
        description="Such as cpu, cuda, cuda:1, mps or xpu; accelerator is one of any type. Default: the best available.",
    )
    defaults: dict[str, Any] = Field(default_factory=dict, description="Default call parameters of the pipeline.")
    seed: int | None = Field(
        default=None, description="Seed of requests that set none; random by default.", ge=0, le=MAX_SEED
    )
    components: dict[str, Components] = Field(default_factory=dict, description="Settings by component.")
    adapters: tuple[LoraConfig, ...] = Field(default=(), description="LoRAs that are applied in every call.")
    ip_adapters: tuple[IPAdapterConfig, ...] = Field(default=(), description="IP-Adapters, for images as prompts.")
    prompt_syntax: Syntax | None = Field(
        default=None, description="Prompt syntax: plain, or with weights as in A1111 or Compel. Default: the server's."
    )
    memory: MemoryMode = Field(default="auto", description="Offloading from an accelerator where it does not fit.")
    batching: Batching = Field(default="auto", description="Whether waiting runs share a call.")
    replicas: Replicas = Field(default="auto", description="On how many accelerators it is loaded; auto: as needed.")
    deterministic: bool = Field(default=False, description="Whether outputs must not depend on other requests.")
    keep_alive: Duration | None = Field(
        default=None,
        description="How long the model stays in memory without requests, such as 5m. Default: the server's.",
    )
    pin: bool = Field(default=False, description="Whether the model is never unloaded to make room for another one.")
    performance: Performance = Field(
        default_factory=PerformanceConfig, description="Performance settings: a profile, or a mapping."
    )
    allow_remote_code: tuple[RemoteCode, ...] = Field(
        default=(), description="Repositories whose code may be executed; `true` is the model's, at its `revision`."
    )
    description: str = Field(default="", description="A sentence for users who choose a model.")
    response_format: ResponseFormat | None = Field(
        default=None,
        description="How requests that do not choose receive images: url or b64_json. Default: the server's.",
    )
    path: Path | None = Field(default=None, exclude=True, description="File that this configuration was read from.")

    @model_validator(mode="before")
    @classmethod
    def _with_its_preset(cls, fields: Any) -> Any:
        """Merge the values of the preset."""
        preset = presets().get(str(fields.get("preset"))) if isinstance(fields, dict) else None
        return fields if preset is None else deep_merge(fields, preset.settings)

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str | None) -> str | None:
        """Refuse the name of an unknown preset."""
        if value is not None and value not in presets():
            names = ", ".join(f"'{name}'" for name in presets())
            raise PydanticCustomError("literal_error", "unknown preset", {"expected": names})
        return value

    @field_validator("components", mode="before")
    @classmethod
    def _omitted_components(cls, value: Any) -> Any:
        """Accept null for a component that is left out."""
        if not isinstance(value, dict):
            return value
        return {name: {"omit": True} if part is None else part for name, part in value.items()}

    @field_validator("ip_adapters", "aliases", mode="before")
    @classmethod
    def _one_item(cls, value: Any) -> Any:
        """Accept a mapping or a name for a list of one."""
        return (value,) if isinstance(value, dict | str) else value

    @field_validator("allow_remote_code", mode="before")
    @classmethod
    def _remote_code_in_short(cls, value: Any) -> Any:
        """Accept true for the model's repository, false for none, and a mapping for a list of one."""
        if isinstance(value, bool):
            return ({"repo": MODEL_REPOSITORY},) if value else ()
        return (value,) if isinstance(value, dict) else value

    def placed_on(self, *devices: str) -> ModelConfig:
        """Return this configuration for these devices, of which the first one is that of a model with one."""
        # Where the devices are of another machine, only their type and number are known.
        count = devices if devices[1:] else self.device_count
        parallel = self.parallel and self.parallel.model_copy(update={"devices": count})
        return self.model_copy(update={"device": devices[0], "parallel": parallel})

    def part(self, name: str) -> ComponentConfig:
        """Return the settings of a component that is not a list; empty if it has none."""
        part = self.components.get(name, ComponentConfig())
        assert isinstance(part, ComponentConfig)  # noqa: S101 (callers handle lists)
        return part

    def parts(self) -> Iterator[tuple[str, ComponentConfig]]:
        """Yield the name and the settings of every component, including those of lists."""
        for name, parts in self.components.items():
            for part in parts if isinstance(parts, tuple) else (parts,):
                yield name, part

    def omitted(self) -> dict[str, None]:
        """Return the components that are left out, as the arguments of a pipeline class."""
        return {name: None for name, part in self.parts() if part.omit}

    def without_storage(self) -> ModelConfig:
        """Return this configuration without layerwise casting."""
        update = {"storage": None}
        components = {
            name: tuple(part.model_copy(update=update) for part in parts)
            if isinstance(parts, tuple)
            else parts.model_copy(update=update)
            for name, parts in self.components.items()
        }
        return self.model_copy(update={"components": components})

    def with_class_presets(self, pipeline: str) -> ModelConfig:
        """Return this configuration with the presets that apply to all models of a class."""
        preset = settings_for(pipeline)
        if not preset:
            return self
        fields = self.model_dump(exclude_unset=True)
        return ModelConfig.model_validate({**deep_merge(fields, preset), "path": self.path})


def key_path(loc: Iterable[str | int]) -> tuple[str | int, ...]:
    """Return the key path of an error's location, without pydantic's tags."""
    return tuple(part for part in loc if part not in {ONE, SEVERAL})
