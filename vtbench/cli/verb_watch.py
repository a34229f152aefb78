"""``vtbench watch``: look at runs and studies from outside, wherever they are carried out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtbench.cli.options import Json

if TYPE_CHECKING:
    from vtbench.cli.watch_display import Watch

EXCLUDES = {"once": ("every",), "json": ("every",)}


def run_watch(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Runs, studies, or folders of them.  [default: runs]")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show how things stand and leave.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """How far runs and studies are, and which of them have died.

    It follows them until q or Ctrl-C. Files are read and nothing else, so any terminal on any machine that sees the
    folder will do. In a pipe, as with --once and --json, all is shown once.
    """
    from vtbench.cli.watch_display import Watch
    from vtbench.documents.table import to_plain_json
    from vtbench.documents.terminal import open_console

    watch, console = Watch(runs or [Path("runs")]), open_console()
    if as_json:
        typer.echo(to_plain_json(watch.list_runs()), nl=False)
    elif once or not console.is_terminal:
        console.print(watch.render())
    else:
        with suppress(KeyboardInterrupt):
            _follow(watch, every)


def _follow(watch: Watch, every: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from vtbench.documents.terminal import open_console

    def look() -> Group:
        return Group(watch.render(), Text(f"{time.strftime('%H:%M:%S')}, every {every:g} s; q ends", style="dim"))

    with _read_keys() as keys, Live(look(), console=open_console(), auto_refresh=False) as live:
        while not _pressed_q(keys, every):
            live.update(look(), refresh=True)


@contextmanager
def _read_keys() -> Iterator[int | None]:
    """The descriptor of a keyboard whose keys are read one by one, without being shown; None where there is none."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _pressed_q(keys: int | None, seconds: float) -> bool:
    """Wait so long; whether q was pressed in that time."""
    import os
    import select

    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if keys is None:
            time.sleep(left)
        elif select.select([keys], [], [], left)[0]:
            pressed = os.read(keys, 64)
            if not pressed or b"q" in pressed.lower():
                return True
    return False
