"""Options that mean the same in every verb: spelt, described and answered once."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import typer

from vtbench.cli.completion import complete_devices, complete_trackers
from vtbench.errors import UserError
from vtbench.mistakes import explain_device

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="Also tell tensorboard, mlflow or wandb, offline; may be repeated.",
        autocompletion=complete_trackers,
    ),
]
Judging = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE: how it is asked, as recipe.window=[64, 64]; repeatable."),
]


def check_device(name: str) -> str:
    """Raises ``UserError`` for a name that no device has."""
    if (fault := explain_device(name)) is not None:
        raise UserError(fault)
    return name


Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", autocompletion=complete_devices, callback=check_device)
]
BATCH_SIZE = ("--batch-size", "-b", "--batch")
"""What people type for the number of images at once."""
BatchSize = Annotated[
    int, typer.Option(*BATCH_SIZE, min=1, max=1_000_000, help="Images a pass; the MACs are of the whole pass.")
]

F = TypeVar("F", bound=str)


def choose_format(format: F, as_json: bool) -> F | Literal["json"]:
    """What to print. Raises ``UserError`` where ``--json`` and another ``--format`` ask for two things."""
    if as_json and format not in ("table", "json"):
        raise UserError(f"--json and --format {format} ask for two outputs. Give one of them.")
    return "json" if as_json else format
