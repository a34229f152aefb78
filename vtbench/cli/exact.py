"""``--exact-as``: carry out what is asked as another run was, on which the last digits of numbers depend."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vtbench.errors import UserError

EXACT_EXCLUDES = ("threads", "precision", "channels-last", "compile", "accumulate", "eval-batch-size")
ExactAs = Annotated[
    Path | None,
    typer.Option(
        "--exact-as",
        help="Threads, precision, layout, compilation and batches of steps and evaluation as in this run or study: "
        "equal bits on the same kind of machine.",
    ),
]


def read_choice(folder: Path) -> dict[str, Any]:
    """The settings of the execution that round the numbers of the run in ``folder``, or of a study's first cell.

    Raises ``UserError`` where there is no run, or none whose number of threads is known.
    """
    from vtbench.configuration import Effect, ExecutionConfig, RunConfig
    from vtbench.files import read_file
    from vtbench.records import EnvironmentRecord, load_record
    from vtbench.run_folder import CONFIG, ENVIRONMENT

    found = [path for path in (folder / CONFIG, *sorted(folder.glob(f"cells/*/*/{CONFIG}"))) if path.is_file()]
    if not found:
        raise UserError(f"--exact-as was given {str(folder)!r}, where no run was begun. Name the folder of one.")
    try:
        execution = RunConfig.model_validate_json(read_file(found[0])).execution
    except (OSError, ValueError) as error:
        raise UserError(f"--exact-as: {found[0]} cannot be read as the settings of a run ({error}).") from error
    threads = execution.threads or load_record(found[0].with_name(ENVIRONMENT), EnvironmentRecord).threads
    return {name: getattr(execution, name) for name in ExecutionConfig.list_settings(Effect.NUMBERS)} | {
        "threads": threads
    }
