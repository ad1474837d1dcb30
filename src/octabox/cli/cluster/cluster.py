"""Start, show or end a node of a cluster of machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from octabox.cli.settings_options import config_option, load_settings, settings_options
from octabox.cli.tables import show_table

if TYPE_CHECKING:
    from octabox.config.settings import Settings
    from octabox.engine.ray.nodes import NodeInfo


@click.group(help=__doc__)
def command() -> None:
    """Group the commands of a cluster."""


@command.command()
@click.option("--join", metavar="HOST:PORT", help="Head of the cluster to join; without it this machine is the head.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=6379,
    show_default=True,
    help="Port of the head, for the other nodes.",
)
@click.option("--host", help="Address of this machine for the other nodes, where it has several.")
@click.option("--gpus", type=click.IntRange(0), help="Accelerators for models; by default all that Ray finds.")
@click.option("--cpus", type=click.IntRange(0), help="Models without an accelerator; by default one for each CPU.")
@click.option(
    "--gpu-memory",
    callback=lambda _ctx, _option, value: _parse_size(value),
    metavar="SIZE",
    help="Memory of each accelerator, such as 24GiB, by which models share it; by default each replica has a whole one.",
)
@settings_options("cache_dir")
@config_option
def up(
    join: str | None,
    port: int,
    host: str | None,
    gpus: int | None,
    cpus: int | None,
    gpu_memory: int | None,
    cache_dir: Path | None,
    config: Path | None,
) -> None:
    """Start a node on this machine: the head, or one that joins a head."""
    from octabox.engine.cluster_engine import check_ray

    check_ray()
    from octabox.engine.ray.nodes import NodeOptions, start_node

    folder = _settings(cache_dir, config).cache_dir
    head = start_node(NodeOptions(join=join, port=port, host=host, gpus=gpus, cpus=cpus, gpu_memory=gpu_memory), folder)
    click.echo(f"This machine is a node of the cluster {head}.")
    if join is None:
        click.echo(f"On another machine:  octabox cluster up --join {head}", err=True)
    click.echo(f"The server:          octabox serve --engine ray --ray-address {head}", err=True)


@command.command()
@settings_options("ray_address")
@config_option
def status(ray_address: str | None, config: Path | None) -> None:
    """List the nodes of a cluster, and what of them is free."""
    from octabox.engine.cluster_engine import check_ray

    check_ray()
    from octabox.engine.ray.nodes import read_nodes

    settings = load_settings({"ray_address": ray_address}, config)
    nodes = read_nodes(settings.ray_address or "auto")
    alive = sum(node.alive for node in nodes)
    show_table(
        ("NODE", "STATE", "GPUS FREE", "CPUS FREE", "MEMORY FREE"),
        map(_row, nodes),
        foot=f"{alive} of {len(nodes)} nodes",
    )


@command.command()
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    help="Seconds for the calls that run on the node to end; by default 60. It takes no others meanwhile.",
)
@click.option("--force", is_flag=True, help="End the node immediately; the calls that run there end with it.")
@settings_options("cache_dir")
@config_option
def down(timeout: float | None, force: bool, cache_dir: Path | None, config: Path | None) -> None:
    """End the node that `octabox cluster up` has started on this machine, once its calls are done."""
    from octabox.engine.cluster_engine import check_ray

    check_ray()
    from octabox.engine.ray.nodes import DRAIN_TIMEOUT, stop_node

    limit = 0.0 if force else DRAIN_TIMEOUT if timeout is None else timeout
    stopped = stop_node(_settings(cache_dir, config).cache_dir, limit, lambda text: click.echo(text, err=True))
    click.echo("The node of this machine has ended." if stopped else "No node of this machine was running.")


def _settings(cache_dir: Path | None, config: Path | None) -> Settings:
    """Return the settings with a folder of the command line."""
    return load_settings({"cache_dir": cache_dir}, config)


def _row(node: NodeInfo) -> tuple[str, ...]:
    """Return the cells of a node: of each resource, how much is free of how much."""
    counts = [f"{node.free.get(name, 0):g} of {node.total.get(name, 0):g}" for name in ("GPU", "CPU")]
    memory = [values.get("memory", 0) / 1024**3 for values in (node.free, node.total)]
    state = "lost" if not node.alive else "draining" if node.draining else "alive"
    return (node.address, state, *counts, f"{memory[0]:.1f} of {memory[1]:.1f} GiB")


def _parse_size(value: str | None) -> int | None:
    """Return the bytes of a size such as 24GiB.

    Raises:
        click.BadParameter: It is not one.
    """
    if value is None:
        return None
    from octabox.config.memory.limits import parse_size

    try:
        return parse_size(value)
    except ValueError:
        raise click.BadParameter(f"must be a size such as 24GiB, not '{value}'.") from None
