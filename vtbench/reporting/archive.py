"""Committed reports: a study's records, flat, with everything that is rendered from them beside.

.. code-block:: text

    reports/<study>/report.json              title, question, base, order of the arms: the outline
    reports/<study>/records/ARM-seedN.json   one run record each
    reports/<study>/records/ARM-seedN.timing.jsonl   how long its epochs took, where that is known
    reports/<study>/records/ARM-seedN.examples.zip   images with truth and prediction, of segmentation and one seed
    reports/<study>/records/ARM-seedN.answers.safetensors   what was answered to each validation image, where kept
    reports/<study>/report.md report.html accuracy_macs.svg accuracy_macs.png
    reports/<study>/tables/summary.csv .md .tex   the tables: see `vtbench.reporting.table_files`
    reports/<study>/measured.json            latency and memory of the arms on one machine, where measured
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtbench.errors import UserError
from vtbench.files import publish_bytes, publish_set, read_file
from vtbench.records import RunRecord, load_record, save_lines, save_record
from vtbench.records.answers import load_answers
from vtbench.records.measured import MeasuredArms
from vtbench.reporting.comparisons import choose_base
from vtbench.reporting.outline import OUTLINE_FILE, name_arm
from vtbench.reporting.rendering import ReportPaths, list_optional_files, write_files
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import (
    ARCHIVE_FOLDER,
    identify_run,
    is_archive,
    load_runs,
    locate_answers,
    locate_examples,
    locate_timings,
)
from vtbench.reporting.table_files import find_earlier_files
from vtbench.run_folder import ANSWERS, EXAMPLES, MEASURED, TIMING

_ABSOLUTE_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^/\\\s'\",:;]+[/\\])+([^/\\\s'\",:;]+)")


def archive_runs(folders: Sequence[Path], target: Path, *, base: str | None = None) -> ReportPaths:
    """Copy the run records beneath ``folders`` into ``target`` and render them there; an older archive is replaced.

    Killed at any moment, or on a full disk, it leaves the archive that was there or the new one, whole.
    Absolute paths are cut to ``PATH/<last name>``, because an archive is to be read elsewhere. Raises ``UserError`` if
    ``target`` holds something else, or lies within the runs.
    """
    loaded = load_runs(*folders)
    if target.exists() and any(target.iterdir()) and not is_archive(target):
        raise UserError(f"{target} is not empty and holds no archived report. Give another folder with --archive.")
    records = [f"{ARCHIVE_FOLDER}/{kind}" for kind in ("*.json", f"*.{TIMING}", f"*.{EXAMPLES}", f"*.{ANSWERS}")]
    with publish_set(target, stale=(*records, MEASURED, *list_optional_files(), *find_earlier_files(target))) as staged:
        for name, record in _name_files((*loaded.records, *loaded.trials)).items():
            path = staged / ARCHIVE_FOLDER / name
            save_record(path, make_portable(record))
            if timings := loaded.timings.get(identify_run(record)):
                save_lines(locate_timings(path), timings)
            if (examples := loaded.examples.get(identify_run(record))) is not None:
                publish_bytes(locate_examples(path), read_file(examples))
            if record.config.trial is None and (answers := loaded.answers.get(identify_run(record))) is not None:
                load_answers(answers, record.answers_sha256)
                publish_bytes(locate_answers(path), read_file(answers))
        chosen = {"base": choose_base(loaded.outline, base, loaded.records), "place": None}
        outline = loaded.outline.model_copy(update=chosen)
        save_record(staged / OUTLINE_FILE, outline)
        measured = next((path for folder in folders if (path := folder / MEASURED).is_file()), None)
        if measured is not None:
            save_record(staged / MEASURED, load_record(measured, MeasuredArms))
        return write_files(build_report(staged), staged).move(target)


def make_portable(record: RunRecord) -> RunRecord:
    """The record without absolute paths of the machine that it was made on."""
    plain = record.model_dump(mode="json")
    for key in ("config", "error", "costs", "outcome"):
        plain[key] = _cut_paths(plain[key])
    return RunRecord.model_validate(plain)


def list_archives(folder: Path) -> list[Path]:
    """Every archived report that lies directly beneath ``folder``."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and is_archive(path)] if folder.is_dir() else []


def _cut_paths(value: Any) -> Any:
    if isinstance(value, str):
        return _ABSOLUTE_PATH.sub(r"PATH/\1", value)
    if isinstance(value, dict):
        return {key: _cut_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut_paths(item) for item in value]
    return value


def _name_files(records: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """File names ``<arm>-seed<n>.json``, of tuning ``<arm>-trial<k>-seed<n>.json``; a second one gets a number."""
    names: dict[str, RunRecord] = {}
    for record in records:
        trial = "" if record.config.trial is None else f"-trial{record.config.trial}"
        stem = f"{re.sub(r'[^A-Za-z0-9._=+-]+', '_', name_arm(record))}{trial}-seed{record.seed}"
        free = (f"{stem}{f'-{count}' if count > 1 else ''}.json" for count in range(1, len(records) + 2))
        names[next(name for name in free if name not in names)] = record
    return names
