"""What the catalog knows of a pipeline and of a scheduler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from octabox.types import Kind

#: What a parameter takes. The first five have a JSON type of their own, the next five are media; the last three are set
#: by Octabox and never by a request.
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
]

#: Kinds whose values are files, not words or numbers.
MEDIA: frozenset[str] = frozenset({"image", "mask", "video", "audio"})

#: Kinds that may be given as files: media, and arrays of numbers.
FILES: frozenset[str] = MEDIA | {"array"}

#: Kinds that Octabox fills in itself.
INTERNAL_KINDS: frozenset[str] = frozenset({"generator", "callback", "internal"})

#: How a call can be watched and stopped: by its step callback, its older callback, its progress bar, or a hook on its
#: denoiser.
ProgressBy = Literal["callback_on_step_end", "callback", "progress_bar", "denoiser"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a call or of a constructor.

    Args:
        name: Its name.
        annotation: Its type as the source writes it.
        kind: What it takes.
        required: Whether the call fails without it.
        default: Its default; meaningless where it is required.
        literal: Whether ``default`` is the value itself; else it is the text of an expression.
        many: Whether a list is taken too.
        choices: All values that it takes, where they are counted.
        description: What the docstring says of it.
    """

    name: str
    annotation: str = ""
    kind: ParameterKind = "any"
    required: bool = False
    default: Any = None
    literal: bool = True
    many: bool = False
    choices: tuple[Any, ...] = ()
    description: str = ""

    @property
    def is_media(self) -> bool:
        """Whether its values are files."""
        return self.kind in MEDIA

    @property
    def is_file(self) -> bool:
        """Whether its values may come as files: media, or an array of numbers."""
        return self.kind in FILES


@dataclass(frozen=True)
class Component:
    """A part that a pipeline is made of, such as its vae; an optional one may be None."""

    name: str
    annotation: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Field:
    """One field of what a pipeline gives back."""

    name: str
    annotation: str = ""
    kind: Kind | None = None
    description: str = ""


@dataclass(frozen=True)
class SizeRule:
    """What sizes a call takes: those that, less ``offset``, are multiples of a number.

    Args:
        parameters: The sizes that it is about.
        multiple: The number, where the source writes it out.
        expression: Else the expression for it, in terms of the loaded pipeline, such as ``vae_scale_factor * 2``.
        offset: What is taken away first.
        rounded: Whether another size is rounded in place of being refused.
    """

    parameters: tuple[str, ...]
    multiple: int | None = None
    expression: str = ""
    offset: int = 0
    rounded: bool = False


@dataclass(frozen=True)
class Dependency:
    """A package that a class uses and that neither it nor diffusers brings.

    Args:
        name: What pip calls it.
        module: What Python imports.
        certain: Whether nothing works without it; else only some settings or files need it.
    """

    name: str
    module: str
    certain: bool = True


@dataclass(frozen=True)
class PipelineEntry:
    """A pipeline class.

    Args:
        name: Its class name.
        module: Module that holds it.
        package: Package that brings it.
        modular: Whether it is built of blocks.
        parameters: What its call takes.
        one_of: Groups of parameters of which each needs at least one, as the class itself checks.
        components: What it is made of.
        outputs: What its call gives back.
        output_kind: The chief of its outputs.
        tasks: Hub task tags that it serves, the one it is made for first.
        deprecated: Whether diffusers keeps it only for old callers.
        family: Name of the models it is for, such as ``stable-diffusion-xl``.
        swallows_kwargs: Whether its call takes any name in silence.
        progress: How its call can be watched and stopped.
        single_file: Whether it can be loaded from one checkpoint file.
        needs: Packages that it uses beside those that come with diffusers.
        sizes: What sizes it takes, as the class itself checks.
        binning: Whether it may use the size of a table that is nearest to the one asked for.
        batches: Whether its call takes a list of prompts and a list of generators.
        sigmas: Whether its call hands any scheduler noise levels of its own.
        description: The first sentence of its docstring.
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
    binning: bool = False
    batches: bool = False
    sigmas: bool = False
    description: str = ""

    def parameter(self, name: str) -> Parameter | None:
        """Return the call's parameter of this name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)

    def files(self, *, required: bool | None = None) -> frozenset[str]:
        """Return the names of parameters that may come as files; where it is said, only those that are needed."""
        found = (parameter for parameter in self.parameters if parameter.is_file)
        return frozenset(each.name for each in found if required is None or each.required == required)

    def media(self, *, required: bool | None = None) -> tuple[Parameter, ...]:
        """Return the parameters that take files; where it is said, only those that are needed, or only the others."""
        found = (parameter for parameter in self.parameters if parameter.is_media)
        return tuple(parameter for parameter in found if required is None or parameter.required == required)

    @property
    def required_components(self) -> frozenset[str]:
        """Names of the components that it cannot do without."""
        return frozenset(component.name for component in self.components if not component.optional)


@dataclass(frozen=True)
class SchedulerEntry:
    """A noise scheduler class.

    Args:
        name: Its class name.
        module: Module that holds it.
        settings: What its constructor takes.
        description: The first sentence of its docstring.
        needs: Packages that it uses beside those that come with diffusers.
        step_needs: What a step of it asks for beside what every pipeline hands it.
        timesteps: Whether the steps of a run can be written out for it.
        sigmas: Whether their noise levels can.
        reverses: Whether it runs from the image to the noise, as its docstring says.
        unread: Settings that its constructor takes and nothing reads, so that they have no effect.
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

    def setting(self, name: str) -> Parameter | None:
        """Return the constructor's setting of this name."""
        return next((setting for setting in self.settings if setting.name == name), None)


@dataclass(frozen=True)
class PackageMetadata:
    """All that is read from the source of a package, as it lies in the cache.

    Args:
        pipelines: Every pipeline class.
        schedulers: Every scheduler class.
        automatic: Diffusers' classes that choose a pipeline for a task, by Hub task tag.
        families: Diffusers' own tables of siblings: for each family, the class by Hub task tag.
        ancestors: Every class of the package, its module, and the names of all it inherits from.
        broken: Files that are no valid Python, and why.
    """

    pipelines: tuple[PipelineEntry, ...] = ()
    schedulers: tuple[SchedulerEntry, ...] = ()
    automatic: dict[str, str] = field(default_factory=dict)
    families: dict[str, dict[str, str]] = field(default_factory=dict)
    ancestors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def names(parameters: Iterable[Parameter]) -> tuple[str, ...]:
    """Return the names of parameters, in order."""
    return tuple(parameter.name for parameter in parameters)


def to_dict(
    entry: Parameter | Component | Field | Dependency | SizeRule | PipelineEntry | SchedulerEntry,
) -> dict[str, Any]:
    """Return the fields of an entry by name; those of the entries inside it stay as they are, which is much faster."""
    return {name: getattr(entry, name) for name in FIELDS[type(entry)]}


#: Names of the fields of each class.
FIELDS = {
    kind: tuple(each.name for each in fields(kind))
    for kind in (Parameter, Component, Field, Dependency, SizeRule, PipelineEntry, SchedulerEntry)
}
