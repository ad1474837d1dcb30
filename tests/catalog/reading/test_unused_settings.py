"""Settings of schedulers that nothing reads."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.unused_settings import UnusedSettings

#: A scheduler, of which each test writes what it does with the setting `wanted`.
SCHEDULER = '''
class ConfigMixin:
    def to_json(self):
        return dict(self.config)

class Mixin:
    def shared(self):
        return self.config.mixed

class Noise(Mixin, ConfigMixin):
    def __init__(self, wanted=1):
        """Take wanted."""
{made}
    def set_timesteps(self, steps):
{planned}
    def _inner(self):
        return self.config.hidden
'''


def unread(tmp_path: Path, *settings: str, planned: str = "pass", made: str = "pass", pipeline: str = "") -> list[str]:
    """Return which settings of a made-up scheduler are read by nothing."""
    text = SCHEDULER.format(planned=indent(planned, " " * 8), made=indent(made, " " * 8))
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "noise.py").write_text(text)
    (tmp_path / "pipeline.py").write_text(pipeline)
    tree = SourceTree("invented", tmp_path)
    owner = tree.find("Noise")
    assert owner is not None
    return list(UnusedSettings(tree).find(owner, list(settings)))


@pytest.mark.parametrize(
    "planned",
    [
        "self.steps = self.config.wanted",
        "self.steps = self.config.get('wanted', 3)",
        "self.steps = self.config['wanted']",
        "if hasattr(self.config, 'wanted'): pass",
        "self.steps = getattr(self.config, 'wanted', None)",
        "self.steps = [self.wanted for _ in steps]",
        "self.steps = Noise(**self.config)",
        "self.steps = getattr(self.config, steps)",
        "self.steps = self.config.get(steps)",
    ],
)
def test_whatever_may_read_a_setting_counts(planned: str, tmp_path: Path) -> None:
    """By name in any way, or the whole configuration, of which there is no telling."""
    assert [] == unread(tmp_path, "wanted", planned=planned)


@pytest.mark.parametrize("planned", ["pass", "self.config.wanted = 3", "steps = wanted", "self.config.other"])
def test_what_nothing_reads_is_found(planned: str, tmp_path: Path) -> None:
    """To write a setting, or to have something else of its name, is not to read it."""
    assert ["wanted"] == unread(tmp_path, "wanted", planned=planned)


def test_constructors_bases_and_inner_methods_count(tmp_path: Path) -> None:
    """The constructor may use its argument; a base's method is the class's own; one that nothing calls does nothing."""
    assert [] == unread(tmp_path, "wanted", "mixed", made="super().__init__(wanted=wanted)")
    assert ["hidden"] == unread(tmp_path, "mixed", "hidden")
    assert [] == unread(tmp_path, "hidden", planned="self._inner()")


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("x = self.scheduler.config.wanted", []),
        ("x = self.scheduler.config.get('wanted', 1)", []),
        ("x = getattr(components.scheduler.config, 'wanted')", []),
        ("x = noise_scheduler.wanted == 3", []),
        ("self.scheduler.config.wanted = 3", ["wanted"]),
        ("x = self.unet.config.wanted", ["wanted"]),
        ("'''Noise.from_config(pipe.scheduler.config, wanted=3)'''", ["wanted"]),
    ],
)
def test_pipelines_may_read_a_schedulers_settings(pipeline: str, expected: list[str], tmp_path: Path) -> None:
    """Those of what they call a scheduler."""
    assert expected == unread(tmp_path, "wanted", pipeline=pipeline)


@pytest.mark.parametrize(
    ("name", "found", "never"),
    [
        ("LCMScheduler", {"timestep_spacing"}, {"original_inference_steps", "timestep_scaling", "clip_sample"}),
        ("TCDScheduler", {"timestep_spacing", "timestep_scaling", "thresholding"}, {"original_inference_steps"}),
        ("EulerDiscreteScheduler", set(), {"timestep_spacing", "sigma_min", "use_karras_sigmas"}),
        ("FlowMatchEulerDiscreteScheduler", set(), {"base_image_seq_len", "max_shift"}),
    ],
)
def test_diffusers_own(name: str, found: set[str], never: set[str]) -> None:
    """What the classes of diffusers take and do not read, and what they or pipelines do read."""
    entry = load_catalog().scheduler(name)

    assert found <= set(entry.unread)
    assert not never & set(entry.unread)
    assert set(entry.unread) <= {setting.name for setting in entry.settings}
