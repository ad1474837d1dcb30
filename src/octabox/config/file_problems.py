"""Find files in the folders of the settings that cannot be read; those of the models folder are found by `discovery`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from octabox.config.problems import Problem, Severity, file_problem
from octabox.config.settings import Settings
from octabox.hub.adapters.adapter_file import SUFFIXES as ADAPTER_SUFFIXES
from octabox.prompts.styles import SUFFIXES as STYLE_SUFFIXES
from octabox.prompts.wildcards import SUFFIX as WILDCARD_SUFFIX
from octabox.security.filesystem import walk_files


def find_file_problems(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each LoRA, embedding, wildcard, style and Python file that cannot be read."""
    folders: tuple[tuple[Path, Collection[str]], ...] = (
        (settings.lora_folder, ADAPTER_SUFFIXES),
        (settings.embedding_folder, ADAPTER_SUFFIXES),
        (settings.pipeline_folder, (".py",)),
        (settings.wildcards, (WILDCARD_SUFFIX,)),
        (settings.styles, STYLE_SUFFIXES),
    )
    for folder, suffixes in folders:
        if folder == settings.styles and folder.is_file():
            continue
        for path, fault in walk_files(folder, suffixes, leave=folder != settings.wildcards).faults.items():
            is_file = path.suffix.lower() in suffixes
            severity: Severity = "error" if is_file or path == folder else "warning"
            yield file_problem(path, fault, "fix or remove it", severity)
