"""Build the engine of a cluster, which needs the extra ``ray``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from octabox.config.memory.durations import NEVER
from octabox.config.settings import Settings
from octabox.engine.messages import WorkerOptions
from octabox.errors import MissingDependencyError

if TYPE_CHECKING:
    from octabox.engine.ray.engine import RayEngine


def check_ray() -> None:
    """Check that the package is installed that a cluster needs.

    Raises:
        MissingDependencyError: It is not.
    """
    try:
        import ray  # noqa: F401, PLC0415 (only a cluster needs it)
    except ImportError as error:
        raise MissingDependencyError(
            f"A cluster needs the package ray, which cannot be imported: {error}.",
            hint="Install it on all nodes: pip install 'octabox[ray]'",
        ) from error


def build_cluster_engine(
    settings: Settings,
    options: WorkerOptions,
    on_evict: Callable[[str, str], None],
    on_out_of_memory: Callable[[str], None],
) -> RayEngine:
    """Return an engine that is connected to its cluster.

    Args:
        settings: The settings of the server.
        options: Settings of all workers.
        on_evict: Called with the name of each replica that is unloaded, and why.
        on_out_of_memory: Called with the name of a model for which memory has run out.

    Raises:
        MissingDependencyError: The extra is not installed.
        ConfigError: There is no such cluster, or it cannot be used.
    """
    check_ray()
    from octabox.engine.ray.engine import RayEngine  # noqa: PLC0415 (likewise)

    engine = RayEngine(
        options,
        address=settings.ray_address,
        queue_size=settings.queue_size,
        max_resident=settings.max_resident,
        max_replicas=settings.max_replicas,
        load_timeout=settings.load_timeout,
        keep_alive=NEVER if settings.keep_alive is None else settings.keep_alive,
        grows=settings.cluster_grows,
        file_store=settings.file_store,
        on_evict=on_evict,
        on_out_of_memory=on_out_of_memory,
    )
    engine.connect()
    return engine
