"""The prompt line of `octabox run`: a prompt makes a result, and a line with a slash is a command."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from octabox.cli.errors import show_error
from octabox.cli.requests.parameters import FILE_OPTIONS, SHORT_OPTIONS, read_inputs
from octabox.cli.requests.run_options import check_texts
from octabox.errors import InvalidParameterError, OctaboxError, UnknownParameterError
from octabox.frontends.naming.parameters import ALIASES, REQUEST_ALIASES

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

#: Options of the command line that `/set` sets too; all other names are call parameters.
OPTIONS: dict[str, Callable[[str], Any]] = {
    "num_outputs": int,
    "scheduler": str,
    "task": str,
    "fps": float,
    "profile": str,
    "prompt_syntax": str,
    "out": str,
}

#: Inputs that have an option.
FILE_INPUTS = frozenset(name for name, _ in FILE_OPTIONS.values())

#: A name, and a value after a space or an equals sign.
_SETTING = re.compile(r"\s*([^\s=]+)(?:\s*=|\s|$)(.*)", re.DOTALL)

#: Runs the options of a command line, and shows the results.
RunCommand = Callable[..., None]


class PromptLine:
    """The state of a prompt line, and its commands.

    Args:
        options: Options of the command line.
        run: Runs options with the prompts.
    """

    def __init__(self, options: dict[str, Any], run: RunCommand) -> None:
        short = [f"{name}={options[name]}" for name in SHORT_OPTIONS if options.get(name) is not None]
        self.options = {**options, **dict.fromkeys(SHORT_OPTIONS), "params": (*options["params"], *short)}
        self.options.setdefault("inputs", ())
        self.options["model"] = options["model"] or "demo"
        self._run = run

    def handle(self, line: str) -> bool:
        """Run a line, and return whether the program goes on.

        Raises:
            OctaboxError: The command is not known, or the request has failed.
        """
        line = line.strip()
        check_texts({"line": line})
        if not line.startswith("/"):
            if line:
                self._run(**{**self.options, "prompts": (line,)})
            return True
        name, _, text = line[1:].partition(" ")
        if name in ("bye", "exit", "quit"):
            return False
        command = getattr(self, f"do_{name}", None)
        if command is None:
            hint = f"Commands are: {', '.join(self.commands())}."
            raise UnknownParameterError(f"There is no command '/{name}'.", hint=hint, choices=self.commands())
        command(text.strip())
        return True

    @classmethod
    def commands(cls) -> list[str]:
        """Return the names of all commands."""
        return ["/bye", *(f"/{name.removeprefix('do_')}" for name in sorted(vars(cls)) if name.startswith("do_"))]

    def do_help(self, _: str) -> None:
        """Show the commands."""
        for name in self.commands()[1:]:
            text = getattr(self, f"do_{name[1:]}").__doc__.partition("\n")[0]
            click.echo(f"  {name:<8} {text}")
        click.echo("  /bye     Leave, as Ctrl-D does. Ctrl-C stops a result.")

    def do_model(self, text: str) -> None:
        """Use another model: a name, a folder, a file or a Hub id."""
        if text:
            self.options["model"] = text
        click.echo(f"model: {self.options['model']}")

    def do_set(self, text: str) -> None:
        """Set a parameter for the prompts that follow: /set steps 4; without a value, remove it; alone, show all."""
        name, value = _parse_setting(text)
        name = REQUEST_ALIASES.get(name, name)
        if name in {*FILE_OPTIONS, *FILE_INPUTS}:
            self.do_input(f"{name} {value}")
            return
        if name in OPTIONS:
            try:
                self.options[name] = OPTIONS[name](value) if value else (1 if name == "num_outputs" else None)
            except ValueError:
                raise InvalidParameterError(f"'{name}' must be a number, not '{value}'.", parameter=name) from None
        elif name:
            same = ALIASES.get(name, name)
            names = ((text.partition("=")[0], text) for text in self.options["params"])
            kept = [text for each, text in names if ALIASES.get(each, each) != same]
            self.options["params"] = (*kept, *([f"{name}={value}"] if value else ()))
        for shown in self._settings():
            click.echo(shown)

    def do_input(self, text: str) -> None:
        """Set an input file: /input image photo.png; without a file, remove it; alone, show all."""
        name, file = _parse_setting(text)
        name = FILE_OPTIONS[name][0] if name in FILE_OPTIONS else name
        if name:
            inputs = [(name, file)] if file else []
            read_inputs(inputs)  # It may be missing.
            kept = [each for each in self.options["inputs"] if each.partition("=")[0] != name]
            self.options["inputs"] = (*kept, *(f"{name}={file}" for name, file in inputs))
        for shown in self._settings():
            click.echo(shown)

    def do_lora(self, text: str) -> None:
        """Add a LoRA: /lora NAME[:WEIGHT]; alone, remove all."""
        try:
            added = shlex.split(text)
        except ValueError as error:
            message = f"'{text}' cannot be split into words: {str(error).lower()}."
            hint = "Write a quotation mark that belongs to a name within others, or after a backslash."
            raise InvalidParameterError(message, hint=hint, parameter="loras") from None
        self.options["loras"] = (*self.options["loras"], *added) if added else ()
        click.echo(f"LoRAs: {', '.join(self.options['loras']) or 'none'}")

    def do_seed(self, text: str) -> None:
        """Set the seed; alone, a random one for each result."""
        try:
            self.options["seed"] = int(text) if text else None
        except ValueError:
            raise InvalidParameterError(f"'seed' must be a whole number, not '{text}'.", parameter="seed") from None
        click.echo(f"seed: {text or 'random'}")

    def do_run(self, _: str) -> None:
        """Make a result without a prompt, for models that take none."""
        self._run(**{**self.options, "prompts": ()})

    def _settings(self) -> Iterator[str]:
        """Yield each setting that is not the default."""
        yield from (text.replace("=", ": ", 1) for text in (*self.options["params"], *self.options["inputs"]))
        for name in OPTIONS:
            if (value := self.options.get(name)) not in (None, 1):
                yield f"{name}: {value}"


def _parse_setting(text: str) -> tuple[str, str]:
    """Return the name and the value of a setting, which a space or an equals sign separates."""
    match = _SETTING.fullmatch(text)
    return (match[1], match[2].strip()) if match else ("", "")


def read_lines(line: PromptLine) -> None:
    """Read and run lines until the user leaves."""
    previous = signal.signal(signal.SIGINT, _interrupt)
    try:
        session = _session()
        click.echo("A prompt makes a result. /help shows the commands, /bye or Ctrl-D leaves.", err=True)
        goes_on = True
        while goes_on:
            try:
                goes_on = line.handle(session.prompt(f"{line.options['model']}> "))
            except KeyboardInterrupt:
                click.echo("Interrupted.", err=True)
            except EOFError:
                return
            except OctaboxError as error:
                show_error(error)
    finally:
        signal.signal(signal.SIGINT, previous)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    """Stop what runs, but not the program. asyncio would handle Ctrl-C by itself with the default handler."""
    raise KeyboardInterrupt


def _session() -> PromptSession[str]:
    """Return the session that reads lines, with its history in the user's folder of states."""
    from platformdirs import user_state_path
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory

    class QuietHistory(FileHistory):
        """A history that is not kept while its file cannot be written, such as on a full disk."""

        def store_string(self, string: str) -> None:
            """Add a line."""
            with contextlib.suppress(OSError):
                super().store_string(string)

    history: History = InMemoryHistory()
    file = user_state_path("octabox") / "history"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file.open("a+b"):
            history = QuietHistory(str(file))
    except OSError as error:
        warning = f"Warning: the history of prompts is not kept: {file}: {error.strerror or error}."
        click.secho(warning, fg="yellow", err=True)
    return PromptSession(history=history, completer=WordCompleter(PromptLine.commands(), sentence=True))
