"""Write out the prompts of a request, before a model sees them: styles first, then wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, nearest
from octabox.prompts.attention import has_weights
from octabox.prompts.extra import read_extra
from octabox.prompts.names import SYNTAXES, is_prompt
from octabox.prompts.styles import apply_style, chosen, load_styles
from octabox.prompts.wildcards import Wildcards
from octabox.types import GenerationRequest, SchedulerChoice

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

    def with_styles(self, request: GenerationRequest) -> tuple[GenerationRequest, tuple[str, ...]]:
        """Return a request with what its styles set beside its prompts, and what of them has no effect.

        Of several styles the later one holds, and what the request itself says, over all.

        Raises:
            InvalidParameterError: There is no such style.
            ConfigError: The styles cannot be read.
        """
        warnings: list[str] = []
        wishes: dict[str, Any] = {}
        seed, sampler = None, ""
        for style in chosen(request.styles, load_styles(self.styles)) if request.styles else ():
            extra = read_extra(style.extra)
            wishes |= extra.params
            seed, sampler = seed if extra.seed is None else extra.seed, extra.sampler or sampler
            warnings += [f"'{field}' of the style '{style.name}' has no effect." for field in style.unused]
            warnings += [f"'{part}' in the style '{style.name}' has no effect." for part in extra.unused]
        made = replace(
            request,
            wishes={name: value for name, value in wishes.items() if name not in request.params} | {**request.wishes},
            seed=seed if request.seed is None else request.seed,
            scheduler=request.scheduler or (SchedulerChoice(sampler) if sampler else None),
        )
        return made, tuple(warnings)

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
        wildcards = Wildcards(self.wildcards)
        texts = {name: text for name, text in made.items() if is_prompt(name) and isinstance(text, str)}
        if syntax != PLAIN:
            made |= {name: wildcards.expand(text, seed, name) for name, text in texts.items()}
        before = {name: str(params.get(name) or "") for name, text in made.items() if text != params.get(name)}
        before = {**before, **request.written}
        # Whoever asked for plain prompts has meant them so.
        letters = () if syntax != PLAIN or request.prompt_syntax else _letters(texts, wildcards)
        return Written(made, before, (*warnings, *letters))

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
                made[parameter] = apply_style(made.get(parameter) or "", pieces)
        return made, tuple(warnings)


def _letters(texts: Mapping[str, str], wildcards: Wildcards) -> Iterator[str]:
    """Yield what plain prompts have that another syntax would read, unmistakably; nobody said that they are to be plain."""
    hint = f"Say so with the prompt_syntax '{PLAIN}', or ask for 'a1111'."
    for parameter, text in texts.items():
        for name in wildcards.named_in(text):
            yield f"'__{name}__' stands for itself in '{parameter}', which is plain. {hint}"
        if weight := has_weights(text):
            yield f"'{weight}' weighs nothing in '{parameter}', which is plain. {hint}"
