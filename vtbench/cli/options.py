"""Options that mean the same in every verb: spelt, described and answered once."""

from __future__ import annotations

from pathlib import Path
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


def check_device(context: typer.Context, name: str) -> str:
    """Raises ``UserError`` for a name that no device has."""
    if (fault := explain_device(name)) is not None and not context.resilient_parsing:
        raise UserError(fault)
    return name


def check_folder(context: typer.Context, out: Path | None) -> Path | None:
    """Raises ``UserError`` for an ``--out`` that is or would be no folder: standard output, a file, ``results.csv``."""
    if out is None or context.resilient_parsing or out.is_dir():
        return out
    refuse_standard_output(out)
    there = next((place for place in (out, *out.parents) if place.exists()), None)
    if there is not None and not there.is_dir():
        raise UserError(
            f"Cannot write to the output folder {out}: {there} is no folder. Give a folder that you may write to with "
            "--out."
        )
    if out.suffix.lower() in _ENDS_OF_FILES:
        raise UserError(
            f"--out was given {out}, and what is written is a folder of files. Name a folder, such as "
            f"{out.with_suffix('')}; what is printed, as JSON with --json, goes into a file with >."
        )
    return out


def refuse_standard_output(out: Path) -> None:
    """Raises ``UserError`` for ``-``."""
    if str(out) == "-":
        raise UserError(
            "--out was given '-', and no files are written to standard output, which has what is printed: as JSON with "
            "--json. Leave --out out, or name a place for the files."
        )


_ENDS_OF_FILES = (
    *(".csv", ".htm", ".html", ".json", ".jsonl", ".log", ".md", ".ndjson", ".pdf", ".tex", ".txt", ".zip"),
    *(".gif", ".jpeg", ".jpg", ".png", ".svg", ".onnx", ".pt", ".pt2", ".pth", ".safetensors"),
)


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
