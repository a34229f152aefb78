"""The command ``vtbench``: collects the verbs and turns a user's mistake into one message and exit code 2."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Annotated

import typer

import vtbench.cli
from vtbench import __version__
from vtbench.errors import UserError

app = typer.Typer(
    name="vtbench",
    help="What does an architectural choice cost, and what does it buy?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vtbench {__version__}")
        raise typer.Exit


@app.callback()
def vtbench_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What does an architectural choice cost, and what does it buy?"""


_ORDER = ("list", "profile", "train", "ablate", "report", "audit", "tokens")


def _collect_verbs() -> None:
    """Register every module ``verb_NAME`` of this package: each has a function ``run_NAME`` that is the verb.

    A module may also name the class of its ``COMMAND``.
    """
    found = {
        module.name.removeprefix("verb_")
        for module in pkgutil.iter_modules(vtbench.cli.__path__)
        if module.name.startswith("verb_")
    }
    for verb in sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        module = importlib.import_module(f"vtbench.cli.verb_{verb}")
        app.command(verb, cls=getattr(module, "COMMAND", None))(getattr(module, f"run_{verb}"))


_collect_verbs()


def run() -> None:
    """Entry point of the console script."""
    try:
        app()
    except UserError as error:
        typer.echo(f"vtbench: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run()
