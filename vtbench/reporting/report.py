"""A report of runs: read and compared, not yet written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from vtbench.documents.table import Table
from vtbench.errors import UserError, format_names
from vtbench.files import read_file
from vtbench.records import RunRecord, TimingRecord, load_record
from vtbench.records.answers import Answers, load_answers
from vtbench.records.examples import Examples, read_examples
from vtbench.records.measured import MeasuredArms
from vtbench.reporting.arm_settings import list_own_keys
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.described_data import describe_data, describe_source, list_drawn
from vtbench.reporting.image_tables import ImageComparison, compare_images
from vtbench.reporting.outline import ReportOutline, name_arm
from vtbench.reporting.repeating import list_needs, repeat_command
from vtbench.reporting.run_tables import time_runs
from vtbench.reporting.runs import LeftOut, RunKey, find_traced, identify_run, is_archive, load_runs, name_places
from vtbench.reporting.side_by_side import TwoResults, compare_results
from vtbench.reporting.sources import refuse_mixtures, tabulate_sources
from vtbench.run_folder import MEASURED
from vtbench.search_space import Range, TuningConfig
from vtbench.settings import spell_setting, undo_treatment
from vtbench.stats.estimates import Estimate
from vtbench.units import format_items

T = TypeVar("T")
INDEX_FILE = "index.html"
_MOST_NAMED = 12
"""Of more arms or seeds the first are named, and how many more there are."""
_THREADS = "--threads are those of all cells that run at once (--jobs) together, shared out among them"


@dataclass(frozen=True)
class Report:
    """Everything that formats and figures show. ``comparisons[0]`` is that of the base; the others were kept apart.

    ``timings`` are those of the epochs of each run, by `identify_run`, where they were kept; ``examples`` those of the
    runs of one seed; ``trials`` the runs by which arms were tuned; ``answers`` what runs answered to each validation
    image, of those that kept it; ``measured`` what arms take on one machine; ``sides`` two folders beside each other,
    where two were given that have runs in common; ``places`` where what is kept of each run lies, ``traced`` the runs
    that failed and left a traceback there; ``sources`` what is in each of several folders, of which
    ``num_copies`` runs are equal to one of another folder. An ``interim`` report says that it is one, an
    ``indexed`` one is of an archive that lies beside the page over all archives.
    """

    outline: ReportOutline
    comparisons: tuple[Comparison, ...]
    left_out: tuple[LeftOut, ...]
    provenance: tuple[tuple[str, str], ...]
    timings: Mapping[RunKey, tuple[TimingRecord, ...]] = field(default_factory=dict)
    examples: Mapping[RunKey, Examples] = field(default_factory=dict)
    trials: tuple[RunRecord, ...] = ()
    answers: Mapping[RunKey, Answers] = field(default_factory=dict)
    measured: MeasuredArms | None = None
    sides: TwoResults | None = None
    interim: bool = False
    places: Mapping[RunKey, str] = field(default_factory=dict)
    traced: frozenset[RunKey] = frozenset()
    sources: Table | None = None
    num_copies: int = 0
    indexed: bool = False

    @cached_property
    def seconds(self) -> Mapping[RunKey, float]:
        """What each run took, by `identify_run`, whose every epoch was timed."""
        return time_runs((record for one in self.comparisons for record in one.records), self.timings)

    @cached_property
    def _over_images(self) -> tuple[tuple[ImageComparison, ...], ...]:
        return tuple(compare_images(one, self.answers) for one in self.comparisons)

    def compare_images(self, comparison: Comparison) -> tuple[ImageComparison, ...]:
        """One of the comparisons image by image. It is worked out once for all that is made of it."""
        pairs = zip(self.comparisons, self._over_images, strict=True)
        return next(found for one, found in pairs if one is comparison)

    @property
    def fresh_means(self) -> dict[str, float]:
        """The mean of each arm of the first comparison."""
        return {arm.name: arm.mean.mean for arm in self.comparisons[0].arms if isinstance(arm.mean, Estimate)}


def build_report(*folders: Path, base: str | None = None, interim: bool = False) -> Report:
    """Read all runs beneath ``folders`` and compare them. Raises ``UserError`` if there is nothing to report."""
    loaded = load_runs(*folders)
    refuse_mixtures(folders, loaded.found)
    comparisons = build_comparisons(loaded.records, loaded.outline, base=base)
    provenance = describe_provenance(loaded.records, loaded.outline)
    examples, damaged = _read_all(
        loaded.examples, "examples", lambda _, path: read_examples(read_file(path), path.name)
    )
    hashes = {identify_run(record): record.answers_sha256 for record in loaded.records}
    kept = {run: path for run, path in loaded.answers.items() if run in hashes}
    answers, spoilt = _read_all(kept, "answers", lambda run, path: load_answers(path, hashes[run]))
    measured, unread = _read_measured(folders)
    return Report(
        loaded.outline,
        comparisons,
        (*loaded.left_out, *damaged, *spoilt, *unread),
        tuple(provenance),
        loaded.timings,
        examples,
        loaded.trials,
        answers,
        measured,
        compare_results(
            folders,
            *(loaded.list_beneath(folder) for folder in folders),
            order=loaded.outline.arms,
            stopped=(loaded.find_stopped(folders[0]), loaded.find_stopped(folders[1])),
        )
        if len(folders) == 2
        else None,
        interim,
        name_places(folders, loaded.found),
        find_traced(loaded.found),
        tabulate_sources(folders, loaded.found),
        loaded.num_copies,
        len(folders) == 1 and is_archive(folders[0]) and (folders[0].parent / INDEX_FILE).is_file(),
    )


def _read_measured(folders: Sequence[Path]) -> tuple[MeasuredArms | None, list[LeftOut]]:
    """That of the first folder which has it."""
    path = next((folder / MEASURED for folder in folders if (folder / MEASURED).is_file()), None)
    try:
        return (None if path is None else load_record(path, MeasuredArms)), []
    except UserError as error:
        return None, [LeftOut(MEASURED, str(error))]


def _read_all(
    paths: Mapping[RunKey, Path], what: str, read: Callable[[RunKey, Path], T]
) -> tuple[dict[RunKey, T], list[LeftOut]]:
    found, damaged = {}, []
    for run, path in paths.items():
        arm, _, seed, _ = run
        try:
            found[run] = read(run, path)
        except (OSError, UserError) as error:
            damaged.append(LeftOut(f"{what} of {arm}, seed {seed}", str(error)))
    return found, damaged


def describe_provenance(records: Sequence[RunRecord], outline: ReportOutline) -> list[tuple[str, str]]:
    """Pairs of a heading and what it was for all ``records``; where they differ, every value is named."""
    drawn = list_drawn(records)
    facts = [
        ("data", _join(describe_data(record, drawn) for record in records)),
        ("the data set", _join(filter(None, (describe_source(record.config.data.spec) for record in records)))),
        ("recipe", _join(describe_recipe(record) for record in records) + _name_own_settings(records)),
        ("tuning", _describe_tuning(outline.tuning) if outline.tuning is not None else ""),
        ("seeds", ", ".join(map(str, sorted({record.seed for record in records})))),
        ("machine", _share(records, describe_machine)),
        ("precision", _share(records, lambda record: record.config.execution.precision)),
        ("versions", _share(records, _describe_versions)),
        ("commit", _share(records, _describe_commit)),
    ]
    command = outline.command or repeat_command(records, outline)
    needs = list_needs(command, records, outline) if command else ""
    shared = _THREADS if command and "--threads" in command.split() and " ablate " in f" {command} " else ""
    repeat = [("command", command or ""), ("threads in the command", shared), ("the command needs", needs)]
    return [pair for pair in (*facts, *repeat) if pair[1]]


def _name_own_settings(records: Sequence[RunRecord]) -> str:
    """The settings that arms declare to be their own, where they do."""
    keys = list_own_keys(records)
    return f"; arms differ in {', '.join(keys)}" if keys else ""


def describe_machine(record: RunRecord) -> str:
    """Processor, threads of this one run, cores and system."""
    where = record.environment
    threads = f"{format_items(where.threads, 'thread')} a run, {format_items(where.num_cores, 'core')}"
    return f"{where.device_name} ({where.device}), {threads}, {where.platform}"


def describe_recipe(record: RunRecord, *, own: bool = False) -> str:
    """What a run was trained by: with its ``own`` settings, or with those of the study, less what its arm declares."""
    recipe, init = (record.config if own else undo_treatment(record.config)).recipe, record.config.init
    optimizer = recipe.optimizer
    return (
        f"{recipe.name}: {format_items(recipe.epochs, 'epoch')}, batch {recipe.batch_size}, {optimizer.name}, "
        f"learning rate {optimizer.learning_rate:g}, {recipe.schedule.name} schedule, "
        f"weight decay {optimizer.weight_decay:g}"
        + (f"; not trained: {', '.join(recipe.freeze)}" if recipe.freeze else "")
        + (f"; starts from {init.source} (SHA-256 {str(init.sha256)[:12]})" if init is not None else "")
    )


def _describe_packages(packages: dict[str, str]) -> list[str]:
    return [
        f"{name} {version}" for name, version in sorted(packages.items()) if name in ("numpy", "torch", "torchvision")
    ]


def _describe_tuning(config: TuningConfig) -> str:
    """What arms were tuned in, over which values, and by how many runs."""
    tried = [f"{key} ({_spell_values(values)})" for key, values in config.settings.items()]
    length = f" of {format_items(config.epochs, 'epoch')}" if config.epochs is not None else ""
    return (
        f"each arm its own {'; '.join(tried)}: {format_items(config.num_trials, 'trial')} an arm, each "
        f"{format_items(config.seeds, 'run')}{length}, before the runs that are compared"
    )


def _spell_values(values: Range | tuple[Any, ...]) -> str:
    if isinstance(values, Range):
        return f"from {spell_setting(values.low)} to {spell_setting(values.high)}{', log' if values.log else ''}"
    return ", ".join(map(spell_setting, values))


def _describe_versions(record: RunRecord) -> str:
    where = record.environment
    return ", ".join([f"vtbench {where.vtbench}", f"Python {where.python}", *_describe_packages(where.packages)])


def _describe_commit(record: RunRecord) -> str:
    commit, dirty = record.environment.commit, record.environment.dirty
    if commit is None:
        return "unknown (not run from a checkout)"
    return f"{commit[:12]}{' with uncommitted changes' if dirty else ''}"


def _share(records: Sequence[RunRecord], describe: Callable[[RunRecord], str]) -> str:
    """What all runs have; where they differ, each with the runs that have it.

    ``4f2a (6 runs: seeds 0, 1); 90cd (3 runs: static, seeds 0, 1, 2)``; where some of the arms lack some of the seeds,
    ``4f2a (7 runs of a, b, c)``.
    """
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        found.setdefault(describe(record), []).append(record)
    if len(found) < 2:
        return next(iter(found), "")
    num_arms = len({name_arm(record) for record in records})
    return "; ".join(f"{said} ({_name_runs(of_it, num_arms)})" for said, of_it in found.items())


def _name_runs(records: Sequence[RunRecord], num_arms: int) -> str:
    arms = list(dict.fromkeys(map(name_arm, records)))
    seeds = sorted({record.seed for record in records})
    runs, named = format_items(len(records), "run"), format_names(arms, most=_MOST_NAMED)
    if len(records) != len(arms) * len(seeds):
        return f"{runs} of {named}"
    whose = "" if len(arms) == num_arms else f"{named}, "
    return f"{runs}: {whose}seed{'s' if len(seeds) > 1 else ''} {format_names(map(str, seeds), most=_MOST_NAMED)}"


def _join(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))
