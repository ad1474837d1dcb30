"""What every check works with: models, a server, and how much is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gpu_checks.direct import Direct
from gpu_checks.machine import device
from gpu_checks.memory import Watch
from gpu_checks.models import Architecture, architectures
from gpu_checks.serving import Answer, Server


@dataclass(frozen=True)
class Sizes:
    """How much is asked.

    Args:
        pairs: Served and direct calls that are timed in turn.
        batches: Images of one call.
        batch_steps: Steps of those calls.
        swaps: How often one model makes room for another.
        long: Steps of a call that is interrupted.
        left: Bytes that are left where memory is made scarce.
    """

    pairs: int = 3
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    batch_steps: int = 4
    swaps: int = 20
    long: int = 300
    left: int = 2**30


#: What `--smoke` asks: each kind once, the least of it.
SMOKE = Sizes(pairs=2, batches=(1, 2), batch_steps=2, swaps=4, left=16 * 2**20)


class Bench:
    """Models, a server over them, and the accelerator.

    Args:
        folder: Where models are written.
        out: Where logs are written.
        smoke: Tiny models and few calls.
        threads: Processor threads of a model; 0 leaves that to Octabox.

    Attributes:
        images: By model, the image that others are compared with.
    """

    def __init__(self, folder: Path, out: Path, *, smoke: bool, threads: int) -> None:
        self.folder, self.smoke, self.threads = folder, smoke, threads
        self.sizes = SMOKE if smoke else Sizes()
        self.device = device()
        self.architectures = architectures(tiny=smoke)
        self.images: dict[str, Answer] = {}
        self.log = out / "gpu_check.log"
        self.log.unlink(missing_ok=True)
        (folder / "weights").mkdir(parents=True, exist_ok=True)

    @cached_property
    def server(self) -> Server:
        """The server; it starts when it is first asked."""
        flags = ("--threads", str(self.threads)) if self.threads else ()
        # Compiled code of an earlier run would hide how long it takes to compile.
        return Server(
            self.folder, self.log, *flags, environment={"TORCHINDUCTOR_CACHE_DIR": str(self.folder / "compiled")}
        )

    def weights(self, model: str) -> Path:
        """Return the folder of a model's weights."""
        return self.folder / "weights" / (f"{model}-tiny" if self.smoke else model)

    def configure(self, model: str, label: str, **settings: Any) -> str:
        """Write a configuration of a model, and return the name that it is served by.

        Args:
            model: Name of the architecture.
            label: Name of the configuration among those of the model.
            **settings: What it sets.
        """
        settings = {"dtype": self.architecture(model).dtype, **settings}
        return self.server.configure(f"{model}-{label}", model=str(self.weights(model)), **settings)

    def architecture(self, model: str) -> Architecture:
        """Return the architecture of a model."""
        return self.architectures[model]

    def params(self, model: str, **changes: Any) -> dict[str, Any]:
        """Return the parameters of a usual request, with changes."""
        return {**self.architecture(model).params, **changes}

    def watch(self) -> Watch:
        """Return what watches the memory of the server's workers and of the accelerator."""
        return Watch(self.server.pid)

    @cached_property
    def direct(self) -> Direct:
        """A process for models without the server; it starts when it is first asked."""
        return Direct(self.log, self.threads)

    def load_plain(self, model: str) -> dict[str, Any]:
        """Load a model by diffusers alone, and return what that took."""
        facts = self.architecture(model)
        return self.direct.load(folder=str(self.weights(model)), dtype=facts.dtype, device=self.device)

    def load_as_worker(self, model: str, **settings: Any) -> dict[str, Any]:
        """Load a model without the server as a worker does, and return what that took."""
        facts = self.architecture(model)
        config = {"name": model, "model": str(self.weights(model)), "dtype": facts.dtype, **settings}
        return self.direct.load(config=config, pipeline=facts.pipeline)

    def close(self) -> None:
        """End the processes."""
        self.server.close()
        self.direct.close()


def gigabytes(amount: int | None) -> float | None:
    """Return bytes as gigabytes; None stays."""
    return None if amount is None else amount / 1e9
