"""Where a call reads a parameter, and under which conditions."""

from __future__ import annotations

import ast
import textwrap

import pytest

from octabox.catalog.reading.effects.reads import find_reads
from octabox.catalog.reading.effects.values import ClassMethods
from octabox.catalog.reading.syntax import Function

#: A class as diffusers writes them.
PIPELINE = """
class Made:
    def check_inputs(self, prompt, negative_prompt):
        if len(negative_prompt) > 9:
            raise ValueError(negative_prompt)

    @property
    def do_classifier_free_guidance(self):
        return self._guidance_scale > 1 and self.unet.config.cond is None

    @property
    def guidance_rescale(self):
        return self._guidance_rescale

    def prepare_extra_step_kwargs(self, generator, eta):
        accepts_eta = "eta" in set(inspect.signature(self.scheduler.step).parameters.keys())
        extra = {}
        if accepts_eta:
            extra["eta"] = eta
        return extra

    def encode_prompt(self, prompt, do_guidance, negative_prompt=None, scale=None):
        embeds = self.text_encoder(prompt)
        if not do_guidance:
            return embeds
        negative_prompt = negative_prompt or ""
        return self.text_encoder([negative_prompt, embeds])

    def __call__(self, prompt, guidance_scale=7.5, guidance_rescale=0.0, negative_prompt=None, eta=0.0, true_scale=1.0,
                 negative_2=None, unread=1, early=None, either=None, passed=None, other=None, **kwargs):
        self.check_inputs(prompt, negative_prompt)
        self._guidance_scale = guidance_scale
        self._guidance_rescale = guidance_rescale
        if unread is not None:
            logger.warning(f"{unread} is old")
        has_negative = negative_2 is not None or other is not None
        other = other or 1
        do_true = true_scale > 1 and has_negative
        embeds = self.encode_prompt(prompt, self.do_classifier_free_guidance, negative_prompt=negative_prompt)
        if do_true:
            embeds = self.encode_prompt(negative_2, True)
        extra = self.prepare_extra_step_kwargs(None, eta)
        kept = either if prompt is None else embeds
        for step in self.progress_bar(range(9)):
            noise = self.unet(embeds)
            if self.do_classifier_free_guidance and self.guidance_rescale > 0.0:
                noise = rescale(noise, self.guidance_rescale)
            if do_true:
                noise = noise * true_scale
            embeds = self.scheduler.step(noise, **extra)
        if prompt == "latent":
            return embeds
        passed = passed or 3
        return self.vae(embeds, early, passed, kept)
"""


def methods(text: str) -> ClassMethods:
    """Return the methods of the class in a source."""
    (owner,) = ast.parse(textwrap.dedent(text)).body
    assert isinstance(owner, ast.ClassDef)
    return ClassMethods({each.name: each for each in owner.body if isinstance(each, Function)})


def places(parameter: str, text: str = PIPELINE) -> list[list[str]]:
    """Return the conditions of each place where the call reads a parameter."""
    return [[ast.unparse(each) for each in conditions] for conditions in find_reads(methods(text), parameter)]


GUIDED = "guidance_scale > 1 and self.unet.config.cond is None"
TRUE = "true_scale > 1 and (negative_2 is not None or other is not None)"


@pytest.mark.parametrize(
    ("parameter", "condition"),
    [
        ("negative_prompt", f"not not ({GUIDED})"),
        ("guidance_rescale", GUIDED),
        ("eta", "'eta' in ::set(::inspect.signature(self.scheduler.step).parameters.keys())"),
        ("true_scale", "negative_2 is not None or other is not None"),
        ("negative_2", "true_scale > 1"),
        ("early", "not prompt == 'latent'"),
        ("either", "prompt is None"),
    ],
)
def test_conditions(parameter: str, condition: str) -> None:
    """Each place has the condition, or a stricter one, over parameters of the call and attributes of the pipeline."""
    found = places(parameter)

    assert found
    for conditions in found:
        joined = " / ".join(conditions)
        assert condition in joined or TRUE in joined


@pytest.mark.parametrize("parameter", ["guidance_scale", "prompt"])
def test_places_without_conditions(parameter: str) -> None:
    """A parameter that decides a branch, or is read in any case, has a place without conditions on other parameters."""
    found = places(parameter)

    assert found
    assert any(not any("guidance_scale" in each or "true_scale" in each for each in conditions) for conditions in found)


def test_a_parameter_that_is_read_nowhere() -> None:
    """Checks, errors and messages change no output."""
    assert [] == places("unread")
    with pytest.raises(LookupError):
        places("missing")


@pytest.mark.parametrize(
    "body",
    [
        "x = p\n        x = x or 1\n        return x if q else p",
        "self.kept = p\n        return self.read()",
        "return self.later(**{'p': p})",
        "return [p for _ in range(2)]",
        "return self.each(self.read, p)",
        "self.net.scale = p",
        "match q:\n            case 1:\n                return p",
        "try:\n            pass\n        except ValueError:\n            return p",
        "with open(p):\n            return 1",
        "while p:\n            return 1",
        "def inner():\n            return p\n        return inner",
        "self.kept = p\n        return self.prop",
        "q = q > 1\n        return p if q else 0",
    ],
)
def test_places_that_are_not_overlooked(body: str) -> None:
    """In whatever statement a parameter is read, there is a place, and no condition that is known not to hold."""
    text = f"""
class Made:
    def read(self):
        return self.kept

    @property
    def prop(self):
        x = self.kept
        return x + 1

    def later(self, p):
        return p

    def each(self, function, p):
        return function(p)

    def __call__(self, p=None, q=None):
        {body}
"""
    found = places("p", text)

    assert found
    assert any(all("?" in each or "q == 1" in each for each in conditions) for conditions in found)
