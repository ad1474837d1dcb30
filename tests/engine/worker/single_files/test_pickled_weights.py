"""Files with more than weights: the classes of trainers have stand-ins, and nothing is imported or run."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from octabox.engine.worker.single_files.pickled_weights import load_pickled, replaced_classes
from octabox.errors import RemoteCodeError
from octabox.hub.checkpoints.pickles import read_pickle, read_stand_ins

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3)}


def published(module: str, name: str, base: type = object) -> type:
    """Return a class that pickle finds in a module, as that of a trainer."""
    for depth in range(1, module.count(".") + 2):
        part = ".".join(module.split(".")[:depth])
        sys.modules.setdefault(part, ModuleType(part))
    cls = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, cls)
    return cls


@pytest.fixture
def modules() -> Iterator[None]:
    """Remove the modules of the classes after a test."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def forget(*packages: str) -> None:
    """Remove packages, as on a machine where they are not installed."""
    for name in [each for each in sys.modules if each.partition(".")[0] in packages]:
        del sys.modules[name]


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("zipped", [True, False])
def test_classes_of_trainers(tmp_path: Path, zipped: bool) -> None:
    """Callbacks, hyperparameters, statistics and mappings with a default; the weights are what was saved."""
    callback = published("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    stopping = published("lightning.pytorch.callbacks.early_stopping", "EarlyStopping")()
    stopping.patience = 3
    settings = published("omegaconf.dictconfig", "DictConfig")()
    settings._content = {"lr": 1e-4}
    attributes = published("pytorch_lightning.utilities.parsing", "AttributeDict", dict)(epochs=3)
    several = published("omegaconf.listconfig", "ListConfig", list)([1, 2])
    content = {
        "state_dict": WEIGHTS,
        "callbacks": {callback: {"best": np.float64(0.5)}, "stopping": stopping},
        "hyper_parameters": {"config": settings, "attributes": attributes, "list": several, "path": Path("x")},
        "means": np.arange(3),
        "counts": defaultdict(list, {"a": [1]}),
    }
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    forget("pytorch_lightning", "lightning", "omegaconf")

    assert {"a.weight": (2, 3)} == read_pickle(tmp_path / "x.ckpt")
    loaded = load_pickled(tmp_path / "x.ckpt")

    assert torch.equal(WEIGHTS["a.weight"], loaded["state_dict"]["a.weight"])
    assert "pytorch_lightning" not in sys.modules
    assert "mapping" == read_stand_ins(tmp_path / "x.ckpt")["pytorch_lightning.utilities.parsing.AttributeDict"]


def naming(module: str, name: str) -> bytes:
    """Return a file of torch whose pickle calls a name."""
    pickled = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x04\x00\x00\x00echo\x85R."
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        opened.writestr("x/data.pkl", pickled)
        opened.writestr("x/version", b"3")
    return written.getvalue()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("pytorch_lightning.utilities", "run"),
        ("omegaconf", "os.system"),
        ("somebodys_trainer", "Model"),
        ("pytorch_lightning_evil", "Model"),
        ("numpy", "load"),
    ],
)
def test_other_names_are_refused(tmp_path: Path, module: str, name: str) -> None:
    """Functions, and classes of other packages: the error names them."""
    file = tmp_path / "x.ckpt"
    file.write_bytes(naming(module, name))

    with pytest.raises(RemoteCodeError, match=f"{module}.{name}"):
        load_pickled(file)
    with pytest.raises(RemoteCodeError, match=f"{module}.{name}"), replaced_classes(file):
        pass


def test_stand_ins_end_with_the_context(tmp_path: Path) -> None:
    """Other files of torch are loaded as before."""
    file = tmp_path / "x.ckpt"
    file.write_bytes(naming("omegaconf", "DictConfig"))

    load_pickled(file)

    with pytest.raises(pickle.UnpicklingError, match="DictConfig"):
        torch.load(file, weights_only=True)
    with replaced_classes(tmp_path / "x.safetensors"):
        content: Any = torch.serialization.get_safe_globals()
    assert not [each for each in content if isinstance(each, tuple)]
