"""Expand the prompts of a request for the model: styles first, then wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, nearest
from octabox.prompts.attention import has_weights
from octabox.prompts.compel_limits import check_compel_limits
from octabox.prompts.extra import parse_extra
from octabox.prompts.names import COMPEL, PLAIN, SYNTAXES, is_prompt
from octabox.prompts.styles import apply_style, load_styles, select_styles
from octabox.prompts.wildcards import Wildcards, is_json
from octabox.types import GenerationRequest, SchedulerChoice

#: Maximum number of styles of a request.
MAX_STYLES = 32

#: The prompts that a style changes.
PROMPT, NEGATIVE = "prompt", "negative_prompt"


@dataclass(frozen=True)
class ExpandedPrompts:
    """The prompts of one run.

    Args:
        params: The parameters of the run, with the expanded prompts.
        before: The original text of the prompts that were changed.
        warnings: Parts that have no effect.
    """

    params: Mapping[str, Any]
    before: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptWriter:
    """Expands prompts.

    Args:
        wildcards: Folder of wildcards.
        styles: File or folder of styles.
        syntax: The prompt syntax if neither the request nor the model has one.
    """

    wildcards: Path = Path("wildcards")
    styles: Path = Path("styles")
    syntax: str = PLAIN

    def syntax_of(self, request: GenerationRequest, configured: str | None) -> str:
        """Return the prompt syntax of a request: its own, that of its model, or that of the server.

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
        """Return a request with the parameters of its styles, and warnings about them.

        Later styles take precedence over earlier ones, and the request over all styles.

        Raises:
            InvalidParameterError: There is no such style, or there are too many.
            ConfigError: The styles cannot be read.
        """
        if len(request.styles) > MAX_STYLES:
            raise InvalidParameterError(
                f"A request may have {MAX_STYLES} styles, not {len(request.styles)}.",
                hint="Send fewer.",
                parameter="styles",
            )
        warnings: list[str] = []
        optional_params: dict[str, Any] = {}
        seed, sampler = None, ""
        for style in select_styles(request.styles, load_styles(self.styles)) if request.styles else ():
            extra = parse_extra(style.extra)
            optional_params |= extra.params
            seed, sampler = seed if extra.seed is None else extra.seed, extra.sampler or sampler
            warnings += [f"'{field}' of the style '{style.name}' has no effect." for field in style.unused]
            warnings += [f"'{part}' in the style '{style.name}' has no effect." for part in extra.unused]
        styled = replace(
            request,
            optional_params={name: value for name, value in optional_params.items() if name not in request.params}
            | {**request.optional_params},
            seed=seed if request.seed is None else request.seed,
            scheduler=request.scheduler or (SchedulerChoice(sampler) if sampler else None),
        )
        return styled, tuple(warnings)

    def write(
        self, params: Mapping[str, Any], seed: int, syntax: str, request: GenerationRequest, pipeline: PipelineEntry
    ) -> ExpandedPrompts:
        """Return the expanded prompts of a run.

        They may still contain tags of adapters, from a style or from a wildcard.

        Args:
            params: The run's parameters.
            seed: Its seed, which selects the options of wildcards.
            syntax: Its prompt syntax; wildcards are expanded unless it is plain.
            request: The request.
            pipeline: The pipeline to call.

        Raises:
            InvalidParameterError: There is no such style or wildcard, wildcards refer to each other in a circle, a style
                makes a prompt longer than any model reads, or it has more groups than Compel's parser reads.
            ConfigError: The styles cannot be read.
        """
        made, warnings = self._styled(params, request.styles, pipeline) if request.styles else (dict(params), ())
        wildcards = Wildcards(self.wildcards)
        texts = {name: text for name, text in made.items() if is_prompt(name) and isinstance(text, str)}
        if syntax != PLAIN:
            made |= {name: wildcards.expand(text, seed, name) for name, text in texts.items()}
        for name in texts if syntax == COMPEL else ():
            # Here too, so that a request that is too long does not wait for its model. Prompts in JSON are not parsed.
            if not is_json(made[name]):
                check_compel_limits(made[name], name)
        before = {name: str(params.get(name) or "") for name, text in made.items() if text != params.get(name)}
        before = {**before, **request.written}
        # A request for plain prompts needs no warning.
        unread = () if syntax != PLAIN or request.prompt_syntax else _unread_syntax(texts, wildcards)
        return ExpandedPrompts(made, before, (*warnings, *unread))

    def _styled(
        self, params: Mapping[str, Any], names: tuple[str, ...], pipeline: PipelineEntry
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the parameters of a run with styles applied to its prompts."""
        made, warnings = dict(params), []
        styles = select_styles(names, load_styles(self.styles))
        for parameter in (PROMPT, NEGATIVE):
            parts = [getattr(style, parameter) for style in styles]
            if not any(parts):
                continue
            if pipeline.parameter(parameter) is None:
                warnings.append(f"The styles' {parameter} has no effect: {pipeline.name} has no such parameter.")
            elif isinstance(made.get(parameter), str | None):
                made[parameter] = apply_style(made.get(parameter) or "", parts, parameter)
        return made, tuple(warnings)


def _unread_syntax(texts: Mapping[str, str], wildcards: Wildcards) -> Iterator[str]:
    """Yield a warning for each wildcard or weight in plain prompts, which have no effect there."""
    hint = f"Set prompt_syntax to '{PLAIN}' to accept this, or to 'a1111'."
    for parameter, text in texts.items():
        for name in wildcards.named_in(text):
            yield f"'__{name}__' is not expanded in '{parameter}', which is plain. {hint}"
        if not is_json(text) and (weight := has_weights(text)):
            yield f"'{weight}' has no weight in '{parameter}', which is plain. {hint}"
