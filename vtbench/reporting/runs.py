"""Find and read every run record beneath a folder; what cannot be read is named, never passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vtbench.errors import UserError
from vtbench.files import finish_set, finish_sets, is_staged, resolve
from vtbench.records import Certificate, RunRecord, TimingRecord, load_lines, load_record
from vtbench.reporting.found_folders import is_run, list_entries
from vtbench.reporting.outline import (
    OUTLINE_FILE,
    ReportOutline,
    complete_outline,
    join_outlines,
    list_outlines,
    list_stopped,
    load_outline,
    name_arm,
)
from vtbench.run_folder import ANSWERS, CONFIG, ERROR, EXAMPLES, RECORD, STUDY, TIMING
from vtbench.units import format_items

ARCHIVE_FOLDER = "records"
_DEEPEST = 4
"""A record lies in the folder of its run, in that of its arm, in that of cells, in that of the study."""


@dataclass(frozen=True)
class LeftOut:
    """A file or run folder that gave no record, and why. ``path`` is relative to the folder that was read."""

    path: str
    reason: str


RunKey = tuple[str, str, int, Certificate | None]


@dataclass(frozen=True)
class FoundRun:
    """One run that is not of tuning. ``path`` is its record's, ``study`` the folder of the study or archive around."""

    path: Path
    study: Path | None
    record: RunRecord
    timings: tuple[TimingRecord, ...]

    @property
    def left_traceback(self) -> bool:
        """Whether it failed by a mistake in the code, the traceback of which lies beside its record."""
        return self.record.status == "failed" and self.path.with_name(ERROR).is_file()


@dataclass(frozen=True)
class LoadedRuns:
    """All that was found: the records in the order of their paths, what was left out, and the report's outline.

    ``timings`` are those of the epochs of each run, by `identify_run`; a run whose times were not kept is not in it.
    ``examples`` are the files of examples of the runs of one seed, the lowest of which any run has some.
    ``answers`` are the files of answers to each validation image, of the runs that kept them. ``trials`` are the runs
    by which arms were tuned, which are compared with no others. ``found`` are all runs, with a second record of one
    cell, such as a copy in another folder, that ``records`` leave out; ``repeated`` are those of another outcome, and
    ``num_copies`` says how many are equal to the first.
    """

    records: tuple[RunRecord, ...]
    left_out: tuple[LeftOut, ...]
    outline: ReportOutline
    timings: Mapping[RunKey, tuple[TimingRecord, ...]]
    examples: Mapping[RunKey, Path]
    answers: Mapping[RunKey, Path] = field(default_factory=dict)
    trials: tuple[RunRecord, ...] = ()
    found: tuple[FoundRun, ...] = ()
    repeated: tuple[LeftOut, ...] = ()
    num_copies: int = 0

    def list_beneath(self, folder: Path) -> tuple[RunRecord, ...]:
        """The records of one of the folders that were read. Raises ``UserError`` if there are none in it."""
        beneath = [one.record for one in self.found if one.path.is_relative_to(folder)]
        if not beneath:
            raise UserError(_explain_emptiness((folder,), self.left_out, len(self.trials)))
        return _drop_repeated(beneath)[0]

    def find_stopped(self, folder: Path) -> frozenset[str]:
        """The arms in one of the folders of which the outcome decided how many seeds they have."""
        studies = dict.fromkeys(one.study for one in self.found if one.path.is_relative_to(folder))
        stopped: set[str] = set()
        for study in studies:
            with suppress(UserError):  # What is damaged was named when it was read.
                if study is not None and (outline := load_outline(study)) is not None:
                    stopped.update(list_stopped(outline))
        return frozenset(stopped)


@dataclass(frozen=True)
class _Found:
    """What has been read so far. ``names`` are those of what is in each folder, ``studies`` see `_find_study`."""

    names: dict[Path, frozenset[str]] = field(default_factory=dict)
    trials: list[RunRecord] = field(default_factory=list)
    runs: list[FoundRun] = field(default_factory=list)
    studies: dict[tuple[Path, int], Path | None] = field(default_factory=dict)
    timings: dict[RunKey, tuple[TimingRecord, ...]] = field(default_factory=dict)
    examples: dict[RunKey, Path] = field(default_factory=dict)
    answers: dict[RunKey, Path] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def has(self, path: Path) -> bool:
        """Whether a file is there: by what its folder was seen to hold, where that was looked at."""
        own = self.names.get(path.parent)
        return path.is_file() if own is None else path.name in own


def load_runs(*folders: Path) -> LoadedRuns:
    """Read all run records beneath ``folders``: studies, single runs, or reports that were archived.

    Raises ``UserError`` if a folder is not there or if no record at all is found.
    """
    found = _Found()
    seen: dict[Path, None] = {}
    names: dict[Path, dict[Path, list[str]]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"There is no folder {folder}. Give a study, a run or a folder of them, such as runs/components."
            )
        finish_sets(folder)
        names[folder] = list_entries(folder)
        found.names.update((place, frozenset(own)) for place, own in names[folder].items())
        for path in _find_records(folder, names[folder]):
            place = resolve(path) if len(folders) > 1 else path
            if place not in seen:
                seen[place] = None
                _read(path, folder, found)
        found.left_out.extend(_find_unfinished(folder, names[folder]))
    if not found.runs:
        if not found.trials and (begun := _explain_begun(names)) is not None:
            raise UserError(begun)
        raise UserError(_explain_emptiness(folders, found.left_out, len(found.trials)))
    kept, repeated = _drop_repeated([one.record for one in found.runs])
    trials, again = _drop_repeated(found.trials)
    outline = complete_outline(_find_outline(names, found.left_out), kept)
    lowest = min((seed for _, _, seed, _ in found.examples), default=None)
    examples = {run: path for run, path in found.examples.items() if run[2] == lowest}
    return LoadedRuns(
        kept,
        (*found.left_out, *repeated, *again),
        outline,
        found.timings,
        examples,
        found.answers,
        trials,
        tuple(found.runs),
        (*repeated, *again),
        len(found.runs) - len(kept) - len(repeated),
    )


def identify_run(record: RunRecord) -> RunKey:
    """What two records of one cell have in common."""
    trial = "" if record.config.trial is None else f", trial {record.config.trial + 1}"
    return f"{name_arm(record)}{trial}", record.variant, record.seed, record.certificate


def locate_timings(record: Path) -> Path:
    """Where the times of a run's epochs lie: in its folder, or in an archive beside its record."""
    return record.with_name(TIMING) if record.name == RECORD else record.with_suffix(f".{TIMING}")


def locate_examples(record: Path) -> Path:
    """Where the examples of a run lie: in its folder, or in an archive beside its record."""
    return record.with_name(EXAMPLES) if record.name == RECORD else record.with_suffix(f".{EXAMPLES}")


def locate_answers(record: Path) -> Path:
    """Where the answers of a run to each validation image lie: in its folder, or in an archive beside its record."""
    return record.with_name(ANSWERS) if record.name == RECORD else record.with_suffix(f".{ANSWERS}")


def name_within(path: Path, folder: Path) -> str:
    """The path as a reader of the report of ``folder`` finds it; the folder itself by its name."""
    return resolve(folder).name if path == folder else path.relative_to(folder).as_posix()


def name_places(folders: Sequence[Path], found: Sequence[FoundRun]) -> dict[RunKey, str]:
    """Where what is kept of each run lies, by `identify_run`: its folder, or its record in an archive.

    It is relative to the one folder that was read; of several each is named with it.
    """
    places: dict[RunKey, str] = {}
    for one in found:
        path = one.path.parent if one.path.name == RECORD else one.path
        place = name_within(path, folders[0]) if len(folders) == 1 else path.as_posix()
        places.setdefault(identify_run(one.record), place)
    return places


def find_traced(found: Sequence[FoundRun]) -> frozenset[RunKey]:
    """The runs that left a traceback in the place that `name_places` gives them."""
    first = {identify_run(one.record): one for one in reversed(found)}
    return frozenset(run for run, one in first.items() if one.left_traceback)


def is_archive(folder: Path) -> bool:
    """Whether ``folder`` is a report that was archived: an outline beside a folder of flat records."""
    finish_set(folder)
    return (folder / OUTLINE_FILE).is_file() and (folder / ARCHIVE_FOLDER).is_dir()


def _find_records(folder: Path, names: Mapping[Path, Sequence[str]]) -> list[Path]:
    found = (
        place / name
        for place, own in names.items()
        if not is_staged(place.relative_to(folder))
        for name in own
        if name == RECORD or (place.name == ARCHIVE_FOLDER and name.endswith(".json"))
    )
    return sorted(found, key=_natural_order)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Order ``seed-10`` after ``seed-9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _read(path: Path, folder: Path, found: _Found) -> None:
    try:
        record = load_record(path, RunRecord)
    except UserError as error:
        found.left_out.append(_explain(path, folder, error))
        return
    if record.status == "finished" and found.has(examples := locate_examples(path)):
        found.examples.setdefault(identify_run(record), examples)
    if record.answers_sha256 is not None and found.has(answers := locate_answers(path)):
        found.answers.setdefault(identify_run(record), answers)
    timings: tuple[TimingRecord, ...] = ()
    try:
        if found.has(timed := locate_timings(path)):
            timings = tuple(load_lines(timed, TimingRecord))
            found.timings.setdefault(identify_run(record), timings)
    except UserError as error:
        found.left_out.append(_explain(timed, folder, error))
    if record.config.trial is None:
        found.runs.append(FoundRun(path, _find_study(path.parent, found), record, timings))
    else:
        found.trials.append(record)


def _explain(path: Path, folder: Path, error: UserError) -> LeftOut:
    reason = str(error).removeprefix(f"{path} is ").removeprefix(f"Cannot read {path}: ")
    return LeftOut(name_within(path, folder), reason)


def _find_study(place: Path, found: _Found, depth: int = 0) -> Path | None:
    """The study or archive that ``place`` lies in: in a folder that is read, or `_DEEPEST` above a record at most."""
    if depth >= _DEEPEST and place not in found.names:
        return None
    key = place, min(depth, _DEEPEST)
    if key not in found.studies:
        has_one = found.has(place / STUDY) or found.has(place / OUTLINE_FILE)
        above = None if has_one or place.parent == place else _find_study(place.parent, found, depth + 1)
        found.studies[key] = place if has_one else above
    return found.studies[key]


def _find_unfinished(folder: Path, names: Mapping[Path, Sequence[str]]) -> Iterator[LeftOut]:
    begun = (place for place, own in names.items() if CONFIG in own and RECORD not in own and is_run(place, own))
    for place in sorted(begun, key=_natural_order):
        yield LeftOut(name_within(place, folder), "begun but not finished: it has no record yet")


def _explain_begun(names: Mapping[Path, Mapping[Path, Sequence[str]]]) -> str | None:
    """That studies are there of which no cell has a record yet; None where there is none, or a record, if a bad one."""
    entries = [(place, own) for within in names.values() for place, own in within.items()]
    if any(RECORD in own for _, own in entries):
        return None
    found = [
        (place, outline) for place, own in entries if STUDY in own and (outline := load_outline(place)) is not None
    ]
    if not found:
        return None
    told = [f"{place} ({format_items(len(one.arms) * len(one.seeds), 'cell')})" for place, one in found]
    return (
        f"No cell has finished yet of {'; '.join(told)}, so that there is nothing to report. The same vtbench ablate "
        f"goes on, and vtbench watch {found[0][0]} says how far it is."
    )


def _explain_emptiness(folders: Sequence[Path], left_out: Sequence[LeftOut], num_trials: int) -> str:
    places = ", ".join(str(folder) for folder in folders)
    if num_trials:
        return (
            f"Beneath {places} there are {format_items(num_trials, 'run')} of tuning, and arms are not compared yet. "
            "The same vtbench ablate goes on from there."
        )
    if left_out:
        first = left_out[0]
        return (
            f"No run beneath {places} can be reported. {len(left_out)} were left out, the first being {first.path}: "
            f"{first.reason.rstrip('.')}. Call the same vtbench train or vtbench ablate again to finish them."
        )
    return f"There is no run record beneath {places}. vtbench train and vtbench ablate write them."


def _drop_repeated(records: Sequence[RunRecord]) -> tuple[tuple[RunRecord, ...], list[LeftOut]]:
    """Keep the first record of each cell; a second that is not its equal is named."""
    cells: dict[RunKey, RunRecord] = {}
    repeated: list[LeftOut] = []
    for record in records:
        first = cells.setdefault(identify_run(record), record)
        if first is record:
            continue
        beside = {name: getattr(record, name) for name in ("study", "environment", "class_names", "answers_sha256")}
        if first.model_copy(update=beside) != record:
            name = f"{name_arm(record)}, seed {record.seed}"
            if first.outcome != record.outcome:
                other = "another outcome"
            elif first.config != record.config:
                other = "other settings and the same outcome"
            else:
                other = "the same settings and outcome, and other weights, costs or epochs"
            repeated.append(LeftOut(name, f"a second record of the same cell with {other}; the first is used"))
    return tuple(cells.values()), repeated


def _find_outline(names: Mapping[Path, Mapping[Path, Sequence[str]]], left_out: list[LeftOut]) -> ReportOutline:
    """That of the one folder, or those of all studies in, beneath and around the folders, joined."""
    folders = list(names)
    if len(folders) == 1 and (outline := load_outline(folders[0])):
        return outline
    found: list[ReportOutline] = []
    for folder in folders:
        try:
            found += list_outlines(folder, names[folder])
        except UserError as error:
            left_out.append(LeftOut(name_within(folder, folder), str(error)))
    return join_outlines(" + ".join(resolve(folder).name for folder in folders), found)
