"""Download a model of the Hub, or a file by its URL, into the cache.

SOURCE is a Hub id such as ORG/REPO, with @REVISION if it is not the default branch, the address of its page or of a file there,
or an https URL. Only the needed files are downloaded. An interrupted download is continued.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click


@click.command("pull", help=__doc__)
@click.argument("source")
@click.option("--file", metavar="NAME", help="The file to download from a repository of single files.")
@click.option("--variant", help="Variant of the weights, such as fp16.")
@click.option("--as", "name", metavar="NAME", help="Name to use the model by.")
@click.option("--sha256", help="SHA-256 of the file, for a URL.")
@click.option("--yes", is_flag=True, help="Download without asking.")
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(source: str, **options: Any) -> None:
    """Show what is downloaded, and download it."""
    asyncio.run(_pull(source, **options))


async def _pull(
    source: str,
    *,
    file: str | None,
    variant: str | None,
    name: str | None,
    sha256: str | None,
    yes: bool,
    models: Path | None,
    as_json: bool,
) -> None:
    from octabox.cli.hub.downloads import run_plan
    from octabox.cli.requests.pull_plans import summarize_plan
    from octabox.cli.settings_options import load_settings
    from octabox.hub.pulls.addresses import parse_address, request_of
    from octabox.hub.pulls.links import ModelFolders, check_name
    from octabox.hub.pulls.needed import PullRequest
    from octabox.hub.pulls.plan import make_plan
    from octabox.hub.pulls.urls import UrlRequest
    from octabox.service.hub.registration import check_plan, register_plan

    settings = load_settings({"models": models})
    folders = ModelFolders(settings.models, settings.lora_folder, settings.embedding_folder)
    check_name(name)
    # With its checksum, a URL is that of a file, also on the Hub: of a dataset, for example.
    address = None if "://" in source and sha256 else parse_address(source)
    if "://" in source and address is None:
        _check_unused({"--file": file, "--variant": variant})
        await _pull_url(UrlRequest(source, sha256), settings, folders, name, yes=yes, as_json=as_json)
        return
    if sha256:
        raise click.UsageError("--sha256 has no effect with a Hub id: the Hub states the checksums of its files.")
    repo, _, revision = (address.source if address else source).partition("@")
    request = request_of(source, None, file, variant) if address else PullRequest(repo, revision or None, file, variant)
    plan = await asyncio.to_thread(make_plan, request)
    for line in summarize_plan(plan, files=True):
        click.echo(line, err=True)
    check_plan(plan, folders, name)
    plan.check_space()
    _confirm(plan.to_fetch, yes=yes)
    await run_plan(plan)
    found = register_plan(plan, folders, name)
    used = repo if found is None else found.name
    result = {"model": repo, "commit": plan.commit, "kind": found.kind if found else plan.kind, "bytes": plan.size}
    _show(
        {**result, "folder": str(plan.folder), "name": used, "path": str(found.path) if found else None},
        as_json=as_json,
    )


def _check_unused(options: Mapping[str, str | None]) -> None:
    """Refuse options that have no effect with a URL.

    Raises:
        click.UsageError: One is set.
    """
    unused = next((name for name, value in options.items() if value), None)
    if unused:
        raise click.UsageError(f"{unused} has no effect with a URL.")


async def _pull_url(request: Any, settings: Any, folders: Any, name: str | None, *, yes: bool, as_json: bool) -> None:
    """Show what is downloaded by a URL, download it, and link it."""
    from octabox.cli.hub.downloads import progress_bar
    from octabox.cli.requests.pull_plans import summarize_url_plan
    from octabox.hub.pulls.urls import file_guard, plan_url, pull_url
    from octabox.service.hub.registration import check_url, register_download

    folder, guard = settings.cache_dir / "files", file_guard(settings.url_hosts)
    request.check(guard)
    check_url(request, folder, folders, name)
    plan = await plan_url(request, folder, guard)
    for line in summarize_url_plan(plan):
        click.echo(line, err=True)
    plan.check_space()
    _confirm(plan.to_fetch, yes=yes)
    with progress_bar(request.name) as show:
        file = await pull_url(request, folder, lambda done, total: show(done, total, ""), guard, plan.size)
    found = register_download(file, folders, name)
    result = {"model": request.shown, "kind": found.kind, "bytes": file.stat().st_size, "folder": str(file.parent)}
    _show({**result, "name": found.name, "path": str(found.path)}, as_json=as_json)


def _confirm(to_fetch: int, *, yes: bool) -> None:
    """Ask whether to download so many bytes, unless the answer is given or all is there.

    Raises:
        click.UsageError: There is nobody to ask.
    """
    if not to_fetch:
        click.echo("All files are in the cache.", err=True)
        return
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Standard input is not a terminal: add --yes to download without asking.")
    click.confirm("Download?", default=True, abort=True, err=True)


def _show(result: dict[str, Any], *, as_json: bool) -> None:
    """Print where the model is, and the next command."""
    from octabox.cli.requests.parameters import parse_lora

    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(result["path"] or result["folder"])
    name = str(result["name"])
    # What follows the last colon would be the weight.
    lora = f"{name}:1" if parse_lora(name).lora != name else name
    uses = {
        "lora": f'octabox run MODEL "a prompt" --lora {shlex.quote(lora)}',
        "embedding": f'octabox run MODEL "a prompt with {result["name"]}"',
        "component": f"set `components: {{NAME: {{model: {result['model']}}}}}` in the configuration of a model",
    }
    use = uses.get(result["kind"], f'octabox run {shlex.quote(name)} "a prompt"')
    click.echo(f"Use it: {use}", err=True)
