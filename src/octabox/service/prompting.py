"""Write out the prompts of a request, before a model sees them: styles first, then wildcards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, nearest
from octabox.prompts.names import SYNTAXES, is_prompt
from octabox.prompts.styles import chosen, laid_over, load_styles
from octabox.prompts.wildcards import Wildcards
from octabox.types import GenerationRequest

#: The prompts that a style is laid over.
PROMPT, NEGATIVE = "prompt", "negative_prompt"

#: The syntax in which everything stands for itself, wildcards included.
PLAIN = "plain"


@dataclass(frozen=True)
class Written:
    """The prompts of one run.

    Args:
        params: The run's parameters, with the prompts that the model is to see.
        before: What was given in place of those that were changed.
        warnings: What had no effect.
    """

    params: Mapping[str, Any]
    before: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptWriter:
    """Writes prompts out.

    Args:
        wildcards: Folder of wildcards.
        styles: File or folder of styles.
        syntax: How prompts are read where neither request nor model says.
    """

    wildcards: Path = Path("wildcards")
    styles: Path = Path("styles")
    syntax: str = PLAIN

    def syntax_of(self, request: GenerationRequest, configured: str | None) -> str:
        """Return how a request's prompts are to be read: as it says, as its model does, or as the server does.

        Raises:
            InvalidParameterError: There is no such syntax.
        """
        name = request.prompt_syntax or configured or self.syntax
        if name not in SYNTAXES:
            close = nearest(name, SYNTAXES, count=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"There are {', '.join(SYNTAXES)}."
            raise InvalidParameterError(
                f"There is no prompt syntax '{name}'.", hint=hint, parameter="prompt_syntax", choices=SYNTAXES
            )
        return name

    def write(
        self, params: Mapping[str, Any], seed: int, syntax: str, request: GenerationRequest, pipeline: PipelineEntry
    ) -> Written:
        """Return the prompts of a run as the model is to see them.

        Tags of adapters are to be taken out of what this returns: they may come of a style or of a wildcard.

        Args:
            params: The run's parameters.
            seed: Its seed, which wildcards follow from.
            syntax: How prompts are read; wildcards are written out in all but plain ones.
            request: What names the styles.
            pipeline: What is to be called.

        Raises:
            InvalidParameterError: There is no such style or wildcard, or wildcards go round in a circle.
            ConfigError: The styles cannot be read.
        """
        made, warnings = self._styled(params, request.styles, pipeline) if request.styles else (dict(params), ())
        if syntax != PLAIN:
            wildcards = Wildcards(self.wildcards)
            texts = {name: text for name, text in made.items() if is_prompt(name) and isinstance(text, str)}
            made |= {name: wildcards.expand(text, seed, name) for name, text in texts.items()}
        before = {name: str(params.get(name) or "") for name, text in made.items() if text != params.get(name)}
        before = {**before, **request.written}
        return Written(made, before, warnings)

    def _styled(
        self, params: Mapping[str, Any], names: tuple[str, ...], pipeline: PipelineEntry
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a run's parameters with styles laid over its prompts."""
        made, warnings = dict(params), []
        styles = chosen(names, load_styles(self.styles))
        for parameter in (PROMPT, NEGATIVE):
            pieces = [getattr(style, parameter) for style in styles]
            if not any(pieces):
                continue
            if pipeline.parameter(parameter) is None:
                warnings.append(f"The styles' {parameter} has no effect: {pipeline.name} has no such parameter.")
            elif isinstance(made.get(parameter), str | None):
                made[parameter] = laid_over(made.get(parameter) or "", pieces)
        return made, tuple(warnings)
