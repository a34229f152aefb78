"""What is said beside results, all of it on standard error, and how much: ``-q`` leaves errors, ``-v`` adds versions,
times of steps, and tracebacks.

Standard output has what was asked for and nothing else, in every verb and every ``--format``: what ``-q`` leaves there
is all that there is.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

import typer

from vtbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
_VERBOSE: ContextVar[bool] = ContextVar("verbose", default=False)


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _QUIET.get()


def is_verbose() -> bool:
    """Whether everything is wanted."""
    return _VERBOSE.get()


def tell(text: str) -> None:
    """Say what stands beside the result, such as where files were written."""
    if not is_quiet():
        say(text)


def warn(text: str) -> None:
    """Say on standard error what stops nothing and should be known."""
    say(f"vtbench: {text}")


def say(text: str) -> None:
    """Say on standard error what is to be known with ``-q``, too; lines are broken between words."""
    import sys

    from vtbench.documents.table import escape_controls
    from vtbench.documents.terminal import wrap_words

    typer.echo(wrap_words(escape_controls(text), sys.stderr), err=True)


def open_progress() -> Console:
    """A console for the course of the work; mute with ``-q``."""
    import sys

    from vtbench.documents.terminal import open_console

    console = open_console(sys.stderr)
    console.quiet = is_quiet()
    return console


def describe_versions() -> str:
    """``vtbench 0.1.0 (torch 2.14.1, torchvision 0.29.1, Python 3.11.7)``, without loading torch."""
    import platform
    from importlib.metadata import version

    import vtbench

    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "torchvision"))
    return f"vtbench {vtbench.__version__} ({packages}, Python {platform.python_version()})"


def _set_quiet(context: typer.Context, wanted: bool) -> None:
    _QUIET.set(wanted)
    _refuse_both(context, "quiet", wanted)


def _set_verbose(context: typer.Context, wanted: bool) -> None:
    _VERBOSE.set(wanted)
    _refuse_both(context, "verbose", wanted)
    if wanted:
        typer.echo(describe_versions(), err=True)


def _refuse_both(context: typer.Context, wish: str, wanted: bool) -> None:
    wishes = context.meta.setdefault("vtbench.loudness", set())
    wishes.update({wish} if wanted else ())
    if len(wishes) > 1:
        _VERBOSE.set(False)
        raise UserError("--quiet and --verbose ask for less and for more. Give one of them.")


def take_loudness(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", expose_value=False, callback=_set_quiet, help="Say only results, warnings and errors."
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            expose_value=False,
            callback=_set_verbose,
            help="Also say versions, steps and tracebacks.",
        ),
    ] = False,
) -> None:
    """Not called: its options stand at the end of every verb."""
