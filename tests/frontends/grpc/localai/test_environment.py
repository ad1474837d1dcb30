"""LocalAI's environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.errors import ConfigError
from octabox.frontends.grpc.localai.environment import Environment


def test_defaults_are_the_documented_ones() -> None:
    """Without any variable, each setting has the value of the table of LocalAI's README."""
    read = Environment.load({})

    assert (False, False, True, True) == (read.compel, read.xpu, read.clipskip, read.safetensors)
    assert (8, 7, 64) == (read.chunk_size, read.fps, read.frames)
    assert (False, "ChuckMcSneed/FLUX.1-dev") == (read.disable_cpu_offload, read.bfl_repo)
    assert ("", True, 2.0) == (
        read.token,
        read.localai_backend_parent_watch,
        read.localai_backend_parent_watch_interval,
    )


def test_a_variable_without_effect_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """What LocalAI's backends read and this one does not is named, with what applies instead; unset, nothing is."""
    Environment.load({})
    assert [] == caplog.messages
    Environment.load({"PYTHON_GRPC_MAX_WORKERS": "4"})

    assert ["PYTHON_GRPC_MAX_WORKERS has no effect"] == [line.partition(":")[0] for line in caplog.messages]


def test_every_variable_is_read() -> None:
    """Each variable of the table changes its setting, as a number where it is one."""
    read = Environment.load(
        {
            "COMPEL": "1",
            "SD_EMBED": "1",
            "XPU": "1",
            "CLIPSKIP": "0",
            "SAFETENSORS": "0",
            "CHUNK_SIZE": "4",
            "FPS": "12",
            "DISABLE_CPU_OFFLOAD": "1",
            "FRAMES": "16",
            "BFL_REPO": "me/flux",
            "LOCALAI_GRPC_AUTH_TOKEN": "secret",
            "LOCALAI_BACKEND_PARENT_WATCH": "false",
        }
    )

    assert (True, True, True, False, False, True) == (
        read.compel,
        read.sd_embed,
        read.xpu,
        read.clipskip,
        read.safetensors,
        read.disable_cpu_offload,
    )
    assert (4, 12, 16, "me/flux") == (
        read.chunk_size,
        read.fps,
        read.frames,
        read.bfl_repo,
    )
    assert ("secret", False) == (read.token, read.localai_backend_parent_watch)
    assert "secret" not in repr(read)


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("2s", 2.0), ("1m", 60.0), ("0.25", 0.25), (".5s", 0.5)])
def test_an_interval_is_read_as_go_writes_it(text: str, seconds: float) -> None:
    """The interval between two looks at the parent has a unit."""
    read = Environment.load({"LOCALAI_BACKEND_PARENT_WATCH_INTERVAL": text})

    assert seconds == read.localai_backend_parent_watch_interval


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FPS", "fast"), ("FRAMES", "0"), ("LOCALAI_BACKEND_PARENT_WATCH_INTERVAL", "soon"), ("CHUNK_SIZE", "-1")],
)
def test_a_wrong_value_is_named(variable: str, value: str) -> None:
    """A value that cannot be is an error that names the variable and the value."""
    with pytest.raises(ConfigError, match=variable) as caught:
        Environment.load({variable: value})

    assert value in str(caught.value)


@pytest.mark.parametrize("name", ["MODELS_PATH", "LOCALAI_MODELS_PATH"])
def test_folders_are_known_by_both_names(name: str) -> None:
    """LocalAI's core reads its folders from two variables, and so does its backend."""
    assert Path("/somewhere") == Environment.load({name: "/somewhere"}).models_path
