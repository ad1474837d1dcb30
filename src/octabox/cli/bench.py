"""Measure a model: iterations per second by batch size and memory mode, and the memory of host and device.

MODEL is a configured name, a folder, a checkpoint file, a Hub id, or `demo`, the embedded model. On the CPU weights are not
offloaded, so that there is one memory mode.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from octabox.cli.requests import parameters
from octabox.errors import ForbiddenPathError, InvalidParameterError

if TYPE_CHECKING:
    from octabox.cli.benchmark.measuring import ModeResult
    from octabox.engine.protocol import Call
    from octabox.server import Parts

#: Steps of a call that sets none.
STEPS = "10"

#: Packages whose versions belong to a measurement.
PACKAGES = ("octabox", "torch", "diffusers")


@click.command(help=__doc__)
@click.argument("model")
@click.argument("prompt", default="a red circle on a black background")
@click.option("--batches", default="1,2,4,8,16", show_default=True, help="Batch sizes.")
@click.option(
    "--memory",
    "modes",
    multiple=True,
    metavar="MODE",
    help="A memory mode; by default all, from full to group_offload.",
)
@parameters.parameter_options
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="File for the chart, in SVG.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(**options: Any) -> None:
    """Run the benchmark, and print its table."""
    asyncio.run(_run(**options))


async def _run(
    model: str,
    prompt: str,
    batches: str,
    modes: tuple[str, ...],
    *,
    out: Path | None,
    models: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    from rich.console import Console

    from octabox.cli.benchmark.measuring import Benchmark, parse_batches
    from octabox.cli.hub.downloads import download_model
    from octabox.cli.requests.options import check_single
    from octabox.cli.settings_options import load_settings
    from octabox.server import build

    sizes, modes = parse_batches(batches), _check_modes(modes)
    parts = build(load_settings({"models": models, "log_level": "error", "allow_hub": True}), model=model)
    check_single(parts.models.snapshot().config(parts.name), "measured")
    await download_model(parts)
    with Console(stderr=True).status("preparing") as status:
        call = await _prepare(parts, prompt, options)

        def report(mode: str, batch: int) -> None:
            status.update(f"measuring {mode}, batch size {batch}")

        benchmark = Benchmark(parts.engine, call, parts.models.catalog.pipeline(call.runs_as), report)
        await parts.engine.start([call.model])
        try:
            try:
                await benchmark.run(modes, sizes)
            finally:
                # Also what has been measured before Ctrl-C or an error, and before the engine closes, which takes time.
                status.stop()
                if results := [each for each in benchmark.results if each.batches]:
                    _report(_describe(call, benchmark.device, sizes, results), results, out, as_json=as_json)
        finally:
            await parts.close()


def _report(described: dict[str, Any], results: Sequence[ModeResult], out: Path | None, *, as_json: bool) -> None:
    """Print the measurements, and write the chart."""
    if as_json:
        click.echo(json.dumps(described, indent=2))
    else:
        _show(described, results)
    if out is not None:
        _write_chart(out, described, results)


async def _prepare(parts: Parts, prompt: str, options: dict[str, Any]) -> Call:
    """Return the call that is measured."""
    from octabox.types import GenerationRequest

    texts, inputs = parameters.pop_parameters(options)
    properties = parts.models.snapshot().schema(parts.name)["properties"]
    defaults, _ = parameters.parse_parameters([("steps", STEPS)], properties)
    params, _ = parameters.parse_parameters(texts, properties)
    known = {name: value for name, value in {**defaults, "prompt": prompt}.items() if name in properties}
    request = GenerationRequest(parts.name, params={**known, **params}, inputs=parameters.read_inputs(inputs), seed=0)
    return await parts.generation.prepare(request)


def _check_modes(modes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the memory modes.

    Raises:
        InvalidParameterError: There is no such mode.
    """
    from octabox.config.memory.modes import ALIASES, Mode

    known = get_args(Mode)
    modes = tuple(ALIASES.get(mode.lower(), mode) for mode in modes)
    if unknown := next((mode for mode in modes if mode not in known), None):
        hint = f"Choose from {', '.join(known)}."
        raise InvalidParameterError(
            f"There is no memory mode '{unknown}'.", hint=hint, parameter="memory", choices=known
        )
    return modes


def _describe(call: Call, device: str, batches: Sequence[int], results: Sequence[ModeResult]) -> dict[str, Any]:
    """Return the measurements as JSON data, with what they depend on."""
    texts = {name: value for name, value in call.runs[0].params.items() if isinstance(value, int | float | str)}
    return {
        "model": call.model.name,
        "pipeline": call.runs_as,
        "device": device,
        "versions": {name: version(name) for name in PACKAGES},
        "params": texts,
        "batches": list(batches),
        "modes": [each.to_json() for each in results],
    }


def _show(described: dict[str, Any], results: Sequence[ModeResult]) -> None:
    """Print the measurements as a table, and each failure once."""
    from octabox.cli.tables import show_table, show_title

    show_title(_title(described), _subtitle(described))
    places = list(dict.fromkeys(place for result in results for place in result.memory))
    headings = ["memory", f"it/s at batch size {' / '.join(map(str, described['batches']))}", *places]
    rows = [
        [
            result.mode,
            " / ".join(
                "-" if each.iterations_per_second is None else f"{each.iterations_per_second:.3g}"
                for each in result.batches
            ),
            *(f"{result.memory[place] / 2**30:.2f} GiB" if place in result.memory else "" for place in places),
        ]
        for result in results
    ]
    show_table(headings, rows)
    for error in dict.fromkeys(each.error for result in results for each in result.batches if each.error):
        click.secho(f"Warning: {error}", fg="yellow", err=True)


def _write_chart(out: Path, described: dict[str, Any], results: Sequence[ModeResult]) -> None:
    """Write the chart.

    Raises:
        ForbiddenPathError: The file cannot be written.
    """
    from octabox.cli.benchmark.chart import draw_chart

    image = draw_chart(_title(described), _subtitle(described), described["batches"], results)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(image, encoding="utf-8")
    except OSError as error:
        raise ForbiddenPathError(f"{out} cannot be written: {error.strerror or error}.") from error
    click.echo(str(out), err=True)


def _title(described: dict[str, Any]) -> str:
    return f"{described['model']} ({described['pipeline']}) on {described['device'] or 'no device'}"


def _subtitle(described: dict[str, Any]) -> str:
    """Return the parameters and the versions that a measurement depends on."""
    numbers = [f"{name} {value}" for name, value in described["params"].items() if not isinstance(value, str)]
    return ", ".join([*numbers, *(f"{name} {each}" for name, each in described["versions"].items())])
