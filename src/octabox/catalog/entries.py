"""Catalog entries: the metadata of pipeline and scheduler classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from octabox.catalog.ranges import UNBOUNDED, Range
from octabox.types import Kind

#: Kinds of parameter values: five with a JSON type, five for files, two others, and four that no request may set.
ParameterKind = Literal[
    "text",
    "integer",
    "number",
    "boolean",
    "choice",
    "image",
    "mask",
    "video",
    "audio",
    "array",
    "mapping",
    "any",
    "generator",
    "callback",
    "internal",
    "path",
]

#: Kinds of media files, and those whose values may be files: media and arrays.
MEDIA: frozenset[str] = frozenset({"image", "mask", "video", "audio"})
FILES: frozenset[str] = MEDIA | {"array"}

#: Kinds that a request cannot set.
INTERNAL_KINDS: frozenset[str] = frozenset({"generator", "callback", "internal", "path"})

#: How the progress of a call is observed and how it is cancelled: by callbacks, its progress bar, or a hook on the denoiser.
ProgressBy = Literal["callback_on_step_end", "callback", "progress_bar", "denoiser"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a call or of a constructor.

    Args:
        name: Its name.
        annotation: Its type annotation, as in the source.
        kind: Kind of its values.
        required: Whether the call fails without it.
        default: Its default; meaningless for a required parameter.
        literal: Whether ``default`` is a value; otherwise it is the source of an expression.
        many: Whether a list of values is accepted.
        choices: All accepted values, if they are enumerated.
        range: The numbers that are accepted.
        description: Its description in the docstring.
        fields: The fields of its values, if they are instances of a dataclass; its kind is ``mapping`` then.
        record: Module and name of that dataclass, such as ``package.module.Condition``.
    """

    name: str
    annotation: str = ""
    kind: ParameterKind = "any"
    required: bool = False
    default: Any = None
    literal: bool = True
    many: bool = False
    choices: tuple[Any, ...] = ()
    range: Range = UNBOUNDED
    description: str = ""
    fields: tuple[Parameter, ...] = ()
    record: str = ""

    @property
    def is_media(self) -> bool:
        """Whether its values are media files."""
        return self.kind in MEDIA

    @property
    def is_file(self) -> bool:
        """Whether its values may be files: media or arrays."""
        return self.kind in FILES


@dataclass(frozen=True)
class Component:
    """A component of a pipeline, such as its VAE; an optional one may be None, and one that is not saved has a default."""

    name: str
    annotation: str = ""
    optional: bool = False
    saved: bool = True


@dataclass(frozen=True)
class Field:
    """One field of the output of a pipeline."""

    name: str
    annotation: str = ""
    kind: Kind | None = None
    description: str = ""


@dataclass(frozen=True)
class SizeRule:
    """A rule for sizes of a call: the size minus ``offset`` must be a multiple of a number.

    Args:
        parameters: The size parameters that the rule is for.
        multiple: The number, if the source has it as a literal.
        expression: Otherwise the expression for it, over the loaded pipeline, such as ``vae_scale_factor * 2``.
        offset: Number that is subtracted first.
        rounded: Whether the call rounds other sizes instead of refusing them.
    """

    parameters: tuple[str, ...]
    multiple: int | None = None
    expression: str = ""
    offset: int = 0
    rounded: bool = False


@dataclass(frozen=True)
class Dependency:
    """A package that a class needs and that is not a dependency of diffusers.

    Args:
        name: Name of the distribution, for pip.
        module: Name of the module, for import.
        certain: Whether the class always needs it; otherwise only some settings or files do.
    """

    name: str
    module: str
    certain: bool = True


@dataclass(frozen=True)
class PipelineEntry:
    """A pipeline class.

    Args:
        name: Its class name.
        module: Its module.
        package: Its package.
        modular: Whether it is a modular pipeline, built of blocks.
        parameters: Parameters of its call.
        one_of: Groups of parameters; at least one of each group is required, by the checks of the class.
        components: Its components.
        outputs: Fields of its output.
        output_kind: Kind of its primary output.
        tasks: Hub task tags that it serves, the primary one first.
        deprecated: Whether diffusers marks it as deprecated.
        family: Name of its model family, such as ``stable-diffusion-xl``.
        swallows_kwargs: Whether its call ignores unknown keyword arguments.
        progress: How the progress of its call is observed.
        single_file: Whether it can be loaded from a single checkpoint file.
        needs: Packages that it needs in addition to the dependencies of diffusers.
        sizes: Rules for the sizes of its call, by the checks of the class.
        attributes: Names and sources of what its constructor computes from its components, such as ``vae_scale_factor``.
        binning: Whether the call may replace a size by the nearest one of a table.
        batches: Whether its call accepts a list of prompts and a list of generators.
        sigmas: Whether its call always passes sigmas to the scheduler.
        last_layer: Hidden layer of its text encoders that it uses where none is skipped, counted from the end; 0 if unknown.
        frame_rate: Frames per second of the video in its example; None if it has none, or no video.
        output_types: Forms of its output that its source handles, such as ``pt``; ``takes_latents`` is the same of its image.
        description: First sentence of its docstring.
    """

    name: str
    module: str
    package: str
    modular: bool = False
    parameters: tuple[Parameter, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    components: tuple[Component, ...] = ()
    outputs: tuple[Field, ...] = ()
    output_kind: Kind | None = None
    tasks: tuple[str, ...] = ()
    deprecated: bool = False
    family: str = ""
    swallows_kwargs: bool = False
    progress: ProgressBy = "denoiser"
    single_file: bool = False
    needs: tuple[Dependency, ...] = ()
    sizes: tuple[SizeRule, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    binning: bool = False
    batches: bool = False
    sigmas: bool = False
    last_layer: int = 0
    frame_rate: float | None = None
    output_types: tuple[str, ...] = ()
    takes_latents: bool = False
    description: str = ""

    def parameter(self, name: str) -> Parameter | None:
        """Return the call parameter of this name, or a field of one such as ``conditions.0.frames``; None if there is none."""
        head, _, path = name.partition(".")
        if (found := self._named.get(head)) is None or not path:
            return found
        return next((replace(each, name=name) for each in found.fields if each.name == path.rpartition(".")[2]), None)

    @cached_property
    def _named(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in reversed(self.parameters)}

    @cached_property
    def file_parameters(self) -> dict[str, Parameter]:
        """The parameters that may be files, or have fields, by name."""
        return {each.name: each for each in self.parameters if each.is_file or each.fields}

    @cached_property
    def frames(self) -> Parameter | None:
        """The parameter for the number of frames of a video, by its name and description; None if there is none."""
        return next((each for each in self.parameters if each.kind == "integer" and _counts_frames(each)), None)

    def files(self, *, required: bool | None = None) -> frozenset[str]:
        """Return the names of parameters that accept files, also in fields; optionally only required or only optional ones."""
        found = (each for each in self.file_parameters.values() if required in (None, each.required))
        return frozenset(each.name for each in found if each.is_file or any(part.is_file for part in each.fields))

    def media(self, *, required: bool | None = None) -> tuple[Parameter, ...]:
        """Return the media parameters; optionally only required or only optional ones."""
        return tuple(each for each in self.parameters if each.is_media and required in (None, each.required))

    @property
    def required_components(self) -> frozenset[str]:
        """Names of the required components."""
        return frozenset(component.name for component in self.components if not component.optional)


@dataclass(frozen=True)
class SchedulerEntry:
    """A noise scheduler class.

    Args:
        name: Its class name.
        module: Its module.
        settings: Parameters of its constructor.
        description: First sentence of its docstring.
        needs: Packages that it needs in addition to the dependencies of diffusers.
        step_needs: Arguments of ``step`` that only special pipelines pass.
        timesteps: Whether ``set_timesteps`` accepts custom timesteps.
        sigmas: Whether ``set_timesteps`` accepts custom sigmas.
        reverses: Whether it inverts an image into noise, by its docstring.
        unread: Constructor settings without effect, since no code reads them.
        step_settings: Numbers and switches of ``step`` that have a default and that it reads.
    """

    name: str
    module: str
    settings: tuple[Parameter, ...] = ()
    description: str = ""
    needs: tuple[Dependency, ...] = ()
    step_needs: tuple[str, ...] = ()
    timesteps: bool = False
    sigmas: bool = False
    reverses: bool = False
    unread: tuple[str, ...] = ()
    step_settings: tuple[Parameter, ...] = ()

    def setting(self, name: str) -> Parameter | None:
        """Return the constructor setting of this name; None if there is none."""
        return next((setting for setting in self.settings if setting.name == name), None)


@dataclass(frozen=True)
class PackageMetadata:
    """All metadata that is read from the source of a package.

    Args:
        pipelines: All pipeline classes.
        schedulers: All scheduler classes.
        automatic: Auto pipeline classes of diffusers, by Hub task tag.
        families: Auto pipeline mappings of diffusers: for each family, the class by Hub task tag.
        ancestors: All classes of the package: for each, its module and the names of its ancestors.
        broken: Files that cannot be parsed, with the reason.
        plans: Attributes of model classes with a plan to split them over devices, such as ``_cp_plan``, by class.
    """

    pipelines: tuple[PipelineEntry, ...] = ()
    schedulers: tuple[SchedulerEntry, ...] = ()
    automatic: dict[str, str] = field(default_factory=dict)
    families: dict[str, dict[str, str]] = field(default_factory=dict)
    ancestors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    plans: dict[str, tuple[str, ...]] = field(default_factory=dict)


#: Words in the name of a parameter for the number of frames; others count those of a chunk.
_FRAME_WORDS = frozenset({"num", "number", "count", "total", "of", "n", "frame", "frames", "video", "length"})


def _counts_frames(parameter: Parameter) -> bool:
    """Return whether a parameter is the number of frames of a video."""
    words = frozenset(parameter.name.split("_"))
    return words <= _FRAME_WORDS and "frame" in f"{parameter.name} {parameter.description}".lower()
