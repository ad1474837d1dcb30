"""``octabox check`` on LocalAI's configurations, as its documentation, its gallery and its users have them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.cli.check import command
from octabox.config.parsing import read_models

FILES = Path(__file__).parents[1] / "config" / "localai" / "documented"

#: Expected problems by file: the lines, and a part of each message.
EXPLAINED = {
    "chroma": {8: "`f16` has no effect: `options.0` is 'bfloat16'"},
    "dreamshaper": {3: "There is no 'DreamShaper_8_pruned.safetensors' in the models folder"},
    "flux-file": {3: "There is no 'flux1-dev.safetensors' in the models folder"},
    "ltx-2": {9: "what a model can do is read from its pipeline"},
    "qwen-image": {8: "it omits `true_cfg_scale`", 10: "`options.1` is 'bfloat16'"},
    "qwen-image-edit": {
        8: "it omits `true_cfg_scale`",
        10: "`options.1` is 'bfloat16'",
        13: "what a model can do is read from its pipeline",
    },
    "stable-diffusion-x4-upscaler": {8: "what a model can do is read from its pipeline"},
    "stablediffusion": {3: "There is no 'toonyou_beta6.safetensors' in the models folder"},
    "wan": {12: "what a model can do is read from its pipeline"},
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the devices of this machine out."""
    monkeypatch.chdir(tmp_path)

    async def unknown() -> None:
        return None

    monkeypatch.setattr("octabox.cli.check._list_accelerators", unknown)


@pytest.mark.parametrize("file", sorted(FILES.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_is_a_model_and_is_explained(file: Path) -> None:
    """It loads unchanged, and keys without effect are reported with their lines."""
    result = CliRunner().invoke(command, [str(file)])
    lines = result.output.replace(str(file), "").splitlines()
    wanted = EXPLAINED.get(file.stem, {})

    assert [file.stem] == [model.name for model in read_models(file).models]
    assert any("There is no" in text for text in wanted.values()) == bool(result.exception)
    if not result.exception:
        lines.pop()  # The summary.
    assert list(wanted) == [int(line.split(":")[1]) for line in lines] if wanted else lines[0].startswith(": OK")
    assert [] == [part for line, part in zip(lines, wanted.values(), strict=False) if part not in line]
