"""Start the server: the OpenAI images API over all models of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(help=__doc__)
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of settings.")
@click.option("--host", help="Address to listen on.  [127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [8080]")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of models and their configurations.  [models]")
@click.option("--allow-hub", is_flag=True, default=None, help="Serve any model of the Hub by its id.")
@click.option("--api-keys", metavar="KEY,...", help="Ask clients for one of these keys.")
@click.option("--device", help="Device of models that name none.")
@click.option("--threads", type=int, help="Processor threads of each model.")
@click.option("--queue-size", type=int, help="Requests that may wait for one model.")
@click.option("--max-resident", type=int, help="Models that may be in memory at once; 0 is no limit.")
@click.option("--preload", metavar="NAME,...", help="Models to load at once.")
@click.option("--public-url", help="Address by which clients reach the server.")
@click.option("--result-ttl", type=int, help="Seconds for which a link to a result is good.")
@click.option("--dtype", help="Type of numbers of models that name none.")
@click.option("--cache-dir", type=click.Path(path_type=Path), help="Folder for what can be made again.")
@click.option("--max-image-pixels", type=int, help="Largest image that is read or made, in pixels.")
@click.option("--max-upload-bytes", type=int, help="Largest file or request that is taken, in bytes.")
@click.option("--max-frames", type=int, help="Longest video that is read or made, in frames.")
@click.option("--max-audio-seconds", type=float, help="Longest audio or video that is read, in seconds.")
@click.option("--max-outputs", type=int, help="Outputs that one request may ask for.")
@click.option("--max-steps", type=int, help="Denoising steps that one request may ask for.")
@click.option("--fetch-timeout", type=float, help="Seconds for fetching an input by URL.")
@click.option("--load-timeout", type=float, help="Seconds for loading a model, its download included.")
@click.option("--prompt-syntax", help="How prompts are read: plain, a1111 or compel.  [plain]")
@click.option("--wildcards", type=click.Path(path_type=Path), help="Folder of wildcards for prompts.  [wildcards]")
@click.option("--styles", type=click.Path(path_type=Path), help="File or folder of styles for prompts.  [styles]")
@click.option("--cors-origins", metavar="ORIGIN,...", help="Web origins whose pages may call the server.")
@click.option("--allowed-hosts", metavar="HOST,...", help="Host names that clients may reach the server by.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least level to log.")
@click.option("--log-file", type=click.Path(path_type=Path), help="File to log to.")
def command(config: Path | None, **flags: Any) -> None:
    """Read the settings, build the server and run it until it is told to stop."""
    from octabox.config.settings import Settings
    from octabox.frontends.http.listening import listen
    from octabox.security.hosts import is_loopback
    from octabox.server import app, build

    settings = Settings.load(flags, config)
    parts = build(settings)
    for problem in parts.models.problems():
        click.secho(str(problem), fg="yellow", err=True)
    for warning in settings.warnings:
        click.secho(warning, fg="yellow", err=True)

    if not (settings.api_keys or is_loopback(settings.host)):
        click.secho(
            f"Warning: anyone who can reach {settings.host}:{settings.port} may use this server, load and unload its models. "
            "Set `api_keys`, or listen on 127.0.0.1.",
            fg="red",
            bold=True,
            err=True,
        )

    def on_listening(url: str) -> None:
        names = [config.name for config in parts.models.configurations()]
        click.echo(f"Octabox serves {', '.join(names)} at {url}", err=True)
        if parts.models.only_embedded():
            click.echo(f"There is no model in '{settings.models}', so this is the embedded one.", err=True)

    listen(app(parts), settings.host, settings.port, on_listening, parts.engine.close)
