"""Start the server: the OpenAI images API for all models of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.cli import interruption
from octabox.cli.settings_options import config_option, load_settings, settings_options

if TYPE_CHECKING:
    from octabox.config.settings import Settings
    from octabox.server import Parts


@click.command(help=__doc__)
@config_option
@settings_options()
def command(config: Path | None, **flags: Any) -> None:
    """Load the settings, build the server and run it until it is stopped."""
    from octabox import demo
    from octabox.cli.resident.serving import published
    from octabox.config.discovery import describe_emptiness
    from octabox.frontends.http.network.connections import ConnectionLimits
    from octabox.frontends.http.network.listening import listen
    from octabox.server import app, build, end_processes, interrupt

    settings = load_settings(flags, config)
    parts = build(settings)
    _show_warnings(parts, settings)
    shared = published(parts, flags)

    def on_listening(url: str) -> None:
        interruption.extend_handler()
        if shared is not None:
            shared.start()
        models = parts.models.snapshot()
        names = [*(config.name for config in models.configurations()), *models.aliases()]
        click.echo(f"Octabox serves {', '.join(names)} at {url}", err=True)
        if [config.name for config in models.configurations()] == [demo.NAME]:
            click.echo(f"{describe_emptiness(settings.models)}, so this is the embedded one.", err=True)

    def on_failure(message: str) -> None:
        # Without a log file the log is on the terminal already.
        if settings.log_file:
            click.secho(message, fg="red", err=True)

    application = app(parts, on_failure)
    limits = ConnectionLimits(
        settings.header_timeout, settings.body_timeout, settings.keep_alive_timeout, settings.max_connections
    )

    async def stop() -> None:
        await interrupt(application, parts)
        if shared is not None:
            await shared.stop()
        await end_processes()

    listen(application, settings.host, settings.port, on_listening, stop, limits)
    if interruption.was_interrupted():
        raise KeyboardInterrupt


def _show_warnings(parts: Parts, settings: Settings) -> None:
    """Print the problems of the models, as `octabox check` finds them."""
    from octabox.config.file_problems import find_file_problems
    from octabox.security.hosts import is_loopback

    for problem in (*parts.models.problems(), *find_file_problems(settings)):
        click.secho(str(problem), fg="yellow", err=True)
    if not (settings.api_keys or is_loopback(settings.host)):
        click.secho(
            f"Warning: anyone who can reach {settings.host}:{settings.port} may use this server, load and unload its models. "
            "Set `api_keys`, or listen on 127.0.0.1.",
            fg="red",
            bold=True,
            err=True,
        )
