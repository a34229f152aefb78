"""The command ``vtbench``: collects the verbs and turns a user's mistake into one message and exit code 2."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import vtbench.cli
from vtbench.cli.bash_completion import answer_bash, keep_open_ends
from vtbench.cli.commands import DerivedCommand, VerbCommand, derive_options, name_values
from vtbench.cli.loudness import is_verbose, take_loudness
from vtbench.cli.mistyped import USAGE_ERROR
from vtbench.cli.output import outlive_readers
from vtbench.cli.started import dismiss_helpers, help_first
from vtbench.errors import UserError, describe_file_fault, did_you_mean

_Options = Mapping[str, Sequence[str]]
_OPTIONS_MEANT = {"completion": "--install-completion", "help": "-h", "version": "--version"}
"""Verbs of other programs that are options here."""
_SCRIPTS = ("--install-completion", "--show-completion")
_ORDER = (
    "list",
    "data",
    "profile",
    "train",
    "ablate",
    "watch",
    "report",
    "audit",
    "evaluate",
    "export",
    "predict",
    "tokens",
)


class _Verbs(TyperGroup):
    """The verbs, each described by its docstring; only the one that is called is imported and gets options."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {verb: TyperCommand(verb) for verb in list_verbs()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raises ``UserError`` for an option that is a verb's, or nobody's."""
        try:
            return super().parse_args(ctx, list(args))
        except USAGE_ERROR as error:
            option = getattr(error, "option_name", None)
            if option is None:  # The help, where there are no words.
                raise
            raise UserError(
                f"{option} is no option of vtbench itself. Options of a verb stand behind it: vtbench VERB {option}. "
                "See vtbench -h."
            ) from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Read the docstrings first."""
        for verb, command in self.commands.items():
            command.help = inspect.getdoc(_find_verb(verb)[0])
        super().format_commands(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name and the whole command of the verb, and the arguments that are left."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            meant = _OPTIONS_MEANT.get(args[0])
            hint = f"Write vtbench {meant}." if meant is not None else did_you_mean(args[0], self.commands)
            raise UserError(f"There is no verb {args[0]!r}. {hint}")
        name, _, rest = super().resolve_command(ctx, args)
        return name, build_command(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Call the verb; Ctrl-C where it has no better answer ends it with exit code 130."""
        gc.enable()
        interrupted: list[int] = []

        def interrupt(signum: int, _: Any) -> None:
            interrupted.append(signum)
            raise KeyboardInterrupt

        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, interrupt)
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if not interrupted and not isinstance(error, KeyboardInterrupt):
                raise
            typer.echo("vtbench: interrupted.", err=True)  # The interrupt may come out as an error of a library.
            ctx.exit(130)


def list_verbs() -> list[str]:
    """Every module ``verb_NAME`` of this package has a function ``run_NAME`` that is the verb."""
    modules = (module.name for module in pkgutil.iter_modules(vtbench.cli.__path__))
    verbs = [name.removeprefix("verb_") for name in modules if name.startswith("verb_")]
    return sorted(verbs, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def build_command(verb: str) -> Any:
    """The command of one verb with its options."""
    function, kind, needs, excludes = _find_verb(verb)
    command = _make_command(verb, derive_options(function) if issubclass(kind, DerivedCommand) else function, kind)
    command.needs, command.excludes = needs, excludes
    command.params += _make_command("loudness", take_loudness).params
    for parameter in command.params:
        name_values(parameter)
    return command


def _make_command(name: str, function: Callable[..., None], kind: type[TyperCommand] = TyperCommand) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=kind)(function)
    return typer.main.get_command(alone)


def _find_verb(verb: str) -> tuple[Callable[..., None], type[VerbCommand], _Options, _Options]:
    module = importlib.import_module(f"vtbench.cli.verb_{verb}")
    tables = getattr(module, "NEEDS", {}), getattr(module, "EXCLUDES", {})
    return getattr(module, f"run_{verb}"), getattr(module, "COMMAND", VerbCommand), *tables


app = typer.Typer(
    name="vtbench",
    cls=_Verbs,
    help="What does an architectural choice cost, and what does it buy?",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from vtbench.cli.loudness import describe_versions

        typer.echo(describe_versions())
        raise typer.Exit


@app.callback()
def vtbench_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print vtbench's version and torch's."),
    ] = False,
) -> None:
    """What does an architectural choice cost, and what does it buy?"""


def run() -> None:
    """Entry point of the console script: exit code 2 for a mistake of the user, 1 where files cannot be had."""
    outlive_readers()
    try:
        _refuse_empty(sys.argv[1:])
        _refuse_bytes(sys.argv[1:])
        help_first(sys.argv[1:])
        if any(word.startswith(_SCRIPTS) for word in sys.argv[1:]):
            keep_open_ends()
        with answer_bash():
            app(prog_name="vtbench")
    except SystemExit as end:
        if not end.code:
            dismiss_helpers()
        raise
    except UserError as error:
        if is_verbose():
            traceback.print_exc()
        _say(str(error))
        sys.exit(2)
    except OSError as error:
        if error.errno is None:
            raise
        _say(describe_file_fault(error))
        sys.exit(1)


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty word would be read as the current folder; it mostly comes from a variable that is not set."""
    for place, word in enumerate(arguments):
        if not word.strip() or (word.startswith("--") and word.endswith("=")):
            before = f" after {arguments[place - 1]!r}" if place and not word.startswith("--") else f": {word!r}"
            raise UserError(f"An argument is empty{before}. Give it a value, or leave it out with its option.")


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """What is no text cannot be written into records, which name the files that they are of."""
    for word in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            raise UserError(
                f"The argument {word!r} is no text in {sys.getfilesystemencoding()}, the encoding of file names here. "
                "Rename what it names, or set the locale in which it is text."
            )


def _say(message: str) -> None:
    from vtbench.documents.table import escape_controls
    from vtbench.documents.terminal import wrap_words

    typer.echo(wrap_words(f"vtbench: {escape_controls(message)}", sys.stderr), err=True)


if __name__ == "__main__":
    run()
