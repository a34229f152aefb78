"""The user's file that builds the network of a run: known by its content, wherever it lies."""

from __future__ import annotations

from pathlib import Path

from vtbench.configuration import CodeConfig, RunConfig
from vtbench.errors import UserError
from vtbench.profiling.sources_file import hash_user_file
from vtbench.records import RunRecord, load_record
from vtbench.run_folder import RECORD
from vtbench.variants import canonical_spelling, find_kind, leave_folder_out, split_variant


def identify_code(spelling: str, known: CodeConfig | None = None) -> tuple[str, CodeConfig | None]:
    """The canonical variant of ``spelling``, without the folder of a user's file, and that file; None for no file.

    A file that is ``known`` already is not run. Raises ``UserError`` for an unknown model or option, and for a file
    that cannot be run.
    """
    canonical = canonical_spelling(spelling)
    name, _ = split_variant(canonical)
    if find_kind(name) != "file":
        return canonical, None
    path = Path(name.rpartition(":")[0]).expanduser().absolute()
    code = known or CodeConfig(path=str(path), sha256=hash_user_file(path))
    return leave_folder_out(canonical), code


def recall_code(config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with the file that the finished run in ``folder`` was built from, if it is there no more."""
    name, _ = split_variant(config.variant)
    if config.code is not None or find_kind(name) != "file" or not (folder / RECORD).exists():
        return config
    place = name.rpartition(":")[0]
    before = load_record(folder / RECORD, RunRecord)
    if Path(place).expanduser().is_file() or before.status != "finished" or before.config.code is None:
        return config
    return config.model_copy(update={"variant": leave_folder_out(config.variant), "code": before.config.code})


def check_code(code: CodeConfig | None) -> None:
    """Raise ``UserError`` unless the file is what it was when the run, or the study, was begun."""
    if code is not None and (found := hash_user_file(Path(code.path))) != code.sha256:
        raise UserError(code.describe_change(found))
