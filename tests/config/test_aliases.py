"""Other names of models: an own configuration, or a list in that of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox import demo
from octabox.config.discovery import ModelFolder, discover
from octabox.errors import ModelNotFoundError


def folder_of(path: Path, text: str, **others: str) -> ModelFolder:
    """Return the models of a folder: ``star.yaml``, ``names.yaml`` with this text, and other files."""
    files = {"star": "model: owner/star", "names": text, **others}
    for name, content in files.items():
        (path / f"{name}.yaml").write_text(content, encoding="utf-8")
    return discover(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{name: gpt-image-1, alias: star}", ["gpt-image-1"]),
        ("alias: star", ["names"]),
        ("[{name: a, alias: star}, {name: b, alias: star, description: Another.}]", ["a", "b"]),
        ("{name: own, model: owner/star, aliases: [a, b]}", ["a", "b"]),
        ("{name: own, model: owner/star, aliases: a}", ["a"]),
    ],
)
def test_a_model_has_all_its_names(tmp_path: Path, text: str, names: list[str]) -> None:
    """Each name leads to the configuration of the model, and is no model of its own."""
    folder = folder_of(tmp_path, text)

    assert names == [alias.name for alias in folder.aliases]
    assert {"owner/star"} == {folder.find(name).model for name in names}
    assert not set(names) & (set(folder.models) | {folder.find(name).name for name in names})
    assert [] == [problem for problem in folder.problems if problem.severity == "error"]


def test_what_needs_no_configuration_may_have_aliases(tmp_path: Path) -> None:
    """An alias may be of a checkpoint and of the embedded model."""
    (tmp_path / "sketch.safetensors").touch()
    folder = folder_of(tmp_path, f"[{{name: a, alias: sketch}}, {{name: b, alias: {demo.NAME}}}]")

    assert ("sketch", demo.NAME) == (folder.find("a").name, folder.find("b").name)
    assert demo.NAME not in folder.models


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        ("{name: a, alias: a}", "alias", "'a' is an alias of itself.", "set the name of another model"),
        ("{name: a, alias: nothing}", "alias", "There is no model 'nothing'.", "there are demo, star"),
        ("{name: a, alias: sta}", "alias", "There is no model 'sta'.", "did you mean star?"),
        ("{name: a, alias: x/y}", "alias", "There is no model 'x/y'.", "write `model: x/y` for a model of the Hub"),
        ("{name: star, alias: demo}", "name", "is used by star.yaml; this alias is not served.", "choose another name"),
        (
            "[{name: b, alias: star}, {name: a, alias: b}]",
            "alias",
            "'b' is an alias itself.",
            "set its model, 'star'",
        ),
        (
            "[{name: b, alias: star}, {name: b, alias: demo}]",
            "name",
            "is used by names.yaml; this alias is not served.",
            "choose another name",
        ),
        ("{name: a, model: x/y, aliases: [b, a]}", "aliases.1", "'a' is an alias of itself.", ""),
        (
            "{name: a, alias: star, defaults: {strength: 1}}",
            "defaults",
            "`defaults` has no effect: 'a' is an alias of 'star', whose settings apply.",
            "set it in the configuration of 'star', or write `model` instead of `alias`",
        ),
        ("{name: a, alias: 5}", "alias", "`alias` must be text, not 5.", ""),
        ("{name: a, alias: [star]}", "alias", "`alias` must be text, not ['star'].", ""),
        ("{name: ' ', alias: star}", "name", "`name` must be text that does not start with a space", ""),
    ],
)
def test_an_alias_that_leads_nowhere_is_one_problem(
    tmp_path: Path, text: str, key: str, message: str, hint: str
) -> None:
    """The problem names the key, and what to write instead; the models are served nevertheless."""
    folder = folder_of(tmp_path, text)

    (problem,) = [each for each in folder.problems if each.severity == "error"]
    assert (key, "names.yaml", 1) == (problem.key, problem.file.name, problem.line)
    assert message in problem.message
    assert hint in problem.hint
    assert "owner/star" == folder.find("star").model


def test_aliases_of_aliases_in_a_circle_are_a_problem_each(tmp_path: Path) -> None:
    """Nothing is resolved through another alias, so that a circle does no harm."""
    folder = folder_of(tmp_path, "[{name: a, alias: b}, {name: b, alias: a}]")

    assert ["'b' is an alias itself.", "'a' is an alias itself."] == [each.message for each in folder.problems]
    with pytest.raises(ModelNotFoundError):
        folder.find("a")


def test_localais_keys_have_no_effect_on_an_alias(tmp_path: Path) -> None:
    """LocalAI ignores them as well, so the alias is served; a disabled one is not."""
    text = "[{name: a, alias: star, backend: diffusers}, {name: b, alias: star, disabled: true}]"
    folder = folder_of(tmp_path, text, empty="{name: c, alias: '', parameters: {model: x/y}}")

    assert ["a"] == [alias.name for alias in folder.aliases]
    assert {"warning"} == {problem.severity for problem in folder.problems}
    assert "x/y" == folder.find("c").model


def test_a_checkpoint_gives_way_to_an_alias(tmp_path: Path) -> None:
    """A configuration takes precedence over a file, as that of a model does; an alias that is not served does not."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    folder = folder_of(tmp_path, "[{name: a, alias: star}, {name: b, alias: b}]")

    assert ("star", "b") == (folder.find("a").name, folder.find("b").name)
    assert ["a.safetensors"] == [each.file.name for each in folder.problems if each.severity == "warning"]
