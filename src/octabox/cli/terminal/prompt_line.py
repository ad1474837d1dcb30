"""The prompt line of `octabox run`: a prompt makes a result, and a line with a slash is a command."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from octabox.cli.errors import show_error
from octabox.cli.requests.parameters import FILE_OPTIONS, SHORT_OPTIONS, read_inputs
from octabox.cli.requests.run_options import check_texts
from octabox.cli.requests.workflows import LISTS, STEPS, pop_workflow
from octabox.errors import InvalidParameterError, OctaboxError, UnknownParameterError
from octabox.frontends.naming.parameters import ALIASES
from octabox.security.filesystem import existing_path

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

#: Options of the command line that are set when the program starts: call parameters and inputs have commands.
FIXED = frozenset({"prompt_file", "source", "params", "inputs", "models"})

#: What an option with a number must be, by the name of its type.
NUMBERS = {"integer": "a whole number", "float": "a number"}

#: Inputs that have an option.
FILE_INPUTS = frozenset(name for name, _ in FILE_OPTIONS.values())

#: Options that set call parameters and inputs.
PARAMETER_OPTIONS = frozenset({*SHORT_OPTIONS, *FILE_OPTIONS})

#: A name, and a value after a space or an equals sign.
_SETTING = re.compile(r"\s*([^\s=]+)(?:\s*=|\s|$)(.*)", re.DOTALL)

#: Runs the options of a command line, and shows the results.
RunCommand = Callable[..., None]


class PromptLine:
    """The state of a prompt line, and its commands.

    Args:
        options: Options of the command line.
        run: Runs options with the prompts.
        known: The options that there are.
    """

    def __init__(self, options: dict[str, Any], run: RunCommand, known: Iterable[click.Parameter]) -> None:
        short = [f"{name}={options[name]}" for name in SHORT_OPTIONS if options.get(name) is not None]
        self.options = {**options, **dict.fromkeys(SHORT_OPTIONS), "params": (*options["params"], *short)}
        self.options.setdefault("inputs", ())
        self.options["model"] = options["model"] or "demo"
        self._run = run
        own = [each for each in known if isinstance(each, click.Option) and each.name not in PARAMETER_OPTIONS]
        self._known = {name: each for each in own for name in _names(each)}

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
            self.options["model"] = _parse_path(text)
        click.echo(f"model: {self.options['model']}")

    def do_set(self, text: str) -> None:
        """Set a parameter for the prompts that follow: /set steps 4; without a value, remove it; alone, show all."""
        name, value = _parse_setting(text)
        if name in {*FILE_OPTIONS, *FILE_INPUTS}:
            self.do_input(f"{name} {value}")
            return
        if option := self._known.get(name.replace("-", "_")):
            self.options[str(option.name)] = _parse_option(option, value)
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
            inputs = [(name, _parse_path(file))] if file else []
            read_inputs(inputs)  # It may be missing.
            kept = [each for each in self.options["inputs"] if each.partition("=")[0] != name]
            self.options["inputs"] = (*kept, *(f"{name}={file}" for name, file in inputs))
        for shown in self._settings():
            click.echo(shown)

    def do_lora(self, text: str) -> None:
        """Add a LoRA: /lora NAME[:WEIGHT]; alone, remove all."""
        added = _split_words("loras", text)
        self.options["loras"] = (*self.options["loras"], *added) if added else ()
        click.echo(f"LoRAs: {', '.join(self.options['loras']) or 'none'}")

    def do_seed(self, text: str) -> None:
        """Set the seed; alone, a random one for each result."""
        self.options["seed"] = _parse_option(self._known["seed"], text)
        click.echo(f"seed: {text or 'random'}")

    def do_run(self, _: str) -> None:
        """Make a result without a prompt, for models that take none."""
        self._run(**{**self.options, "prompts": ()})

    def _settings(self) -> Iterator[str]:
        """Yield each setting that is not the default."""
        yield from (text.replace("=", ": ", 1) for text in (*self.options["params"], *self.options["inputs"]))
        for option in dict.fromkeys(self._known.values()):
            value = self.options.get(str(option.name))
            if not option.is_flag and option.name not in FIXED and value not in (None, (), 1):
                yield f"{option.name}: {', '.join(value) if isinstance(value, tuple) else value}"


def _names(option: click.Option) -> set[str]:
    """Return the names of an option of the command line in `/set`."""
    return {str(option.name), *(each.lstrip("-").replace("-", "_") for each in option.opts)}


def _parse_option(option: click.Option, text: str) -> Any:
    """Return the value of an option of the command line; the default for an empty text.

    Raises:
        InvalidParameterError: It is not valid, or the option cannot be set here.
    """
    name = str(option.name)
    if option.is_flag or name in FIXED:
        message = f"'{name}' cannot be set in the prompt line."
        raise InvalidParameterError(message, hint=f"Start it with {option.opts[-1]}.", parameter=name)
    if option.multiple:
        return _split_words(name, text)
    if not text:
        return option.default if isinstance(option.default, int) else None
    try:
        value = option.type.convert(text, option, None)
    except click.BadParameter as error:
        message = f"'{name}' must be {NUMBERS.get(option.type.name, 'valid')}, not '{text}'."
        raise InvalidParameterError(message, parameter=name) from error
    if name == "seed":
        _check_seed(value)
    if name in {*STEPS, *LISTS}:
        pop_workflow(dict.fromkeys((*STEPS, *LISTS)) | {name: value})
    return _parse_path(value) if name == "out" else value


def _check_seed(seed: int) -> None:
    """Check that a request can have a seed; -1 is one at random.

    Raises:
        InvalidParameterError: It cannot.
    """
    from octabox.config.model import MAX_SEED

    if not -1 <= seed <= MAX_SEED:
        raise InvalidParameterError(f"'seed' must be from -1 to {MAX_SEED}, not {seed}.", parameter="seed")


def _split_words(name: str, text: str) -> tuple[str, ...]:
    """Return the words of a text.

    Raises:
        InvalidParameterError: A quotation mark has no end.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        message = f"'{text}' cannot be split into words: {str(error).lower()}."
        hint = "Write a quotation mark that belongs to a name within others, or after a backslash."
        raise InvalidParameterError(message, hint=hint, parameter=name) from None


def _parse_path(text: str) -> str:
    """Return the path that a text names, without what a terminal adds to the name of a file that is dropped on it."""
    if existing_path(text) is None:
        with contextlib.suppress(ValueError):
            words = shlex.split(text)
            text = words[0] if len(words) == 1 else text
    return os.path.expanduser(text)  # noqa: PTH111 (pathlib raises on users that do not exist)


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
