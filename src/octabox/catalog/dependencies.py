"""Find the packages that a class needs, without importing them.

The components of a model count too: some processors of transformers need a package that neither library installs. Their
source is read on first use only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from octabox.catalog.entries import Dependency, PipelineEntry, SchedulerEntry
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.reading.packages import dependency_on, known_packages, module_of

#: The package of the processors.
LIBRARY = "transformers"

#: Packages that fit one version of torch and one build of it, or need such a package.
TORCH_COMPANIONS = {"spandrel", "torchaudio", "torchvision"}

#: Address of the indexes of torch's builds, and the builds that have one, such as `cu126` in version 2.9.1+cu126.
TORCH_INDEXES = "https://download.pytorch.org/whl/"
TORCH_BUILDS = re.compile(r"cpu|xpu|cu\d+|rocm[\d.]+")

#: Parts of a processor, with the file and the base class that declare their backends.
PARTS = {"video_processor": ("video_processing_utils.py", "BaseVideoProcessor")}


def dependencies_of(
    entry: PipelineEntry | SchedulerEntry, parts: Iterable[str] | None = None
) -> tuple[Dependency, ...]:
    """Return the packages that a class and its components need in addition to the dependencies of diffusers.

    Args:
        entry: The class.
        parts: Class names of the components of the model; None for the annotations of the constructor.
    """
    found = {each.module: each for each in entry.needs}
    if isinstance(entry, PipelineEntry):
        for name in parts if parts is not None else _component_classes(entry):
            for module in _processor_needs(name):
                found[module] = dependency_on(module)
    return tuple(found[module] for module in sorted(found))


def is_installed(module: str) -> bool:
    """Return whether a package is installed; the import itself may still fail."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def install_command(names: Iterable[str]) -> str:
    """Return the command that installs packages; those that have to fit torch are of its index, and leave it as it is.

    Args:
        names: Names of the packages. Of those that fit torch, an installed version that does not is replaced.
    """
    names = tuple(names)
    words = ["pip install", *(f'"{name}"' for name in names)]
    if TORCH_COMPANIONS & {*names}:
        torch = version("torch")
        build = torch.partition("+")[2]
        words += ["--upgrade", f'"torch=={torch}"']
        words += [f"--extra-index-url {TORCH_INDEXES}{build}"] if TORCH_BUILDS.fullmatch(build) else []
    return " ".join(words)


def _component_classes(entry: PipelineEntry) -> Iterator[str]:
    """Yield the classes of required components whose annotation allows a single class."""
    for part in entry.components:
        leaves = parse_annotation(part.annotation).leaves
        if not part.optional and len(leaves) == 1:
            yield from leaves


@cache
def _processor_needs(name: str) -> tuple[str, ...]:
    """Return the modules that a processor of transformers needs."""
    definition = _definition(name) if name.endswith("Processor") else None
    if definition is None:
        return ()
    backends = set(_required(definition))
    start = next(
        (node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None
    )
    for argument in start.args.args if start else ():
        if argument.arg in PARTS:
            file, part = PARTS[argument.arg]
            backends.update(_required(_class_in(_folder() / file, part)))
    return tuple(sorted({module_of(backend) for backend in backends} - known_packages()["silent"]))


def _definition(name: str) -> ast.ClassDef | None:
    """Return the class definition of a processor; None if it is unknown."""
    file = _processors().get(name)
    return _class_in(file, name) if file else None


@cache
def _processors() -> dict[str, Path]:
    """Return the source file of each processor, by class name."""
    found: dict[str, Path] = {}
    for file in sorted(_folder().glob("models/*/processing_*.py")):
        for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(name, file)
    return found


def _class_in(file: Path, name: str) -> ast.ClassDef | None:
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return None
    return next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _required(definition: ast.ClassDef | None) -> Iterator[str]:
    """Yield the backends in a decorator such as ``@requires(backends=("torch",))``."""
    for decorator in definition.decorator_list if definition else ():
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "backends":
                values = (node.value for node in ast.walk(keyword.value) if isinstance(node, ast.Constant))
                yield from (value for value in values if isinstance(value, str))


@cache
def _folder() -> Path:
    spec = find_spec(LIBRARY)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
