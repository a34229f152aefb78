"""The command that repeats runs, rebuilt from their own configuration, and what it needs where it is called."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Hashable, Iterable, Sequence

from vtbench.configuration import MOST_THREADS, Effect, ExecutionConfig, RunConfig
from vtbench.datasets.source import needs_files
from vtbench.records import RunRecord
from vtbench.reporting.outline import ReportOutline, name_arm
from vtbench.reporting.treatment import find_differences
from vtbench.run_options import RunOptions, spell_flags
from vtbench.settings import undo_treatment
from vtbench.stats.stopping import StoppingRule

_NO_OUTLINE = ReportOutline(title="")
_IN_LIBRARIES = ("timm:", "torchvision:")
_CUT = "PATH/"


def repeat_command(records: Sequence[RunRecord], outline: ReportOutline = _NO_OUTLINE) -> str | None:
    """The command that repeats the runs as they were carried out: on such a device, in as many threads, there.

    In the folder of a study it goes on with what is missing. None where no single command made all runs.
    """
    command = rebuild_command(records, outline)
    return None if command is None else shlex.join([*shlex.split(command), *_list_place(records, outline)])


def rebuild_command(records: Sequence[RunRecord], outline: ReportOutline = _NO_OUTLINE) -> str | None:
    """The command that repeats the runs, from their own configuration; None where no single command made them all.

    Data and recipes that were moved are named where the run of the highest seed found them.
    """
    config = undo_treatment(max(records, key=lambda record: record.seed).config)
    studies = {record.study for record in records}
    if len(studies) != 1 or not _are_set_alike(records, config):
        return None
    study = studies.pop()
    if outline.in_python if study is not None else len(records) > 1:
        return None
    words = ["vtbench", "ablate", outline.file or study] if study else ["vtbench", "train", config.spelling]
    words += ["--base", outline.study_base] if study and outline.study_base else []
    words += _list_arms(records, outline) if study else []
    declared = {key for record in records for key in record.config.declared}
    words += _list_flags(config, {*declared, *(outline.tuning.settings if outline.tuning is not None else ())})
    if outline.until is not None:
        words += _list_rule(outline.until)
    else:
        seed = max(record.seed for record in records)
        words += ["--seeds", str(seed + 1)] if study else ["--seed", str(seed)]
    return shlex.join(words)


def spell_alone(record: RunRecord) -> str | None:
    """The command that repeats a run outside its study, with what the study gave its arm."""
    config = record.config
    keys = (key.removeprefix("recipe.") for key in config.declared if key.startswith("recipe."))
    changed = tuple(dict.fromkeys((*config.recipe.changed, *keys)))
    init = config.init and config.init.model_copy(update={"of_arm": False})
    own = {"declared": {}, "recipe": config.recipe.model_copy(update={"changed": changed}), "init": init}
    alone = {"study": None, "arm": None, "config": config.model_copy(update=own)}
    return repeat_command([record.model_copy(update=alone)])


def list_needs(command: str, records: Sequence[RunRecord], outline: ReportOutline = _NO_OUTLINE) -> str:
    """What must be there for ``command``: files of the user, data, weights. Empty where vtbench brings everything.

    Paths are as they were given where the runs were made, or as an archive has cut them.
    """
    needs: list[str | None] = [outline.file if any(record.study for record in records) else None]
    for config in _list_distinct(record.config for record in records):
        distillation = config.recipe.distillation
        sources = (config.init and config.init.source, distillation and distillation.teacher)
        needs += [config.recipe.file, *(one for one in sources if one and not one.startswith(_IN_LIBRARIES))]
        needs.append(config.data.spec if needs_files(config.data.spec) else None)
    codes = {record.config.code.path: record.config.code for record in records if record.config.code is not None}
    needs += [f"{path} (SHA-256 {code.sha256[:12]})" for path, code in codes.items()]
    if not (named := dict.fromkeys(need for need in needs if need)):
        return ""
    cut = f"; {_CUT} stands for a folder of the machine that the runs were made on" if _CUT in command else ""
    return f"{', '.join(named)}; paths are as they were given where the runs were made{cut}"


def _are_set_alike(records: Sequence[RunRecord], config: RunConfig) -> bool:
    """Whether all runs were asked for as ``config`` is; the same data may have been moved."""
    settings = [undo_treatment(one) for one in _list_distinct(record.config for record in records)]
    places = {(one.data.spec, one.recipe.file) for one in settings}
    if len(places) > 1 and not any(find_differences(records[0], record) for record in records):
        settings = [_move(one, config) for one in settings]
    return len({(one.data, one.recipe, *_list_flags(one)) for one in settings}) == 1


def _list_distinct(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """One of each that are equal but for the network and the seed; of one recipe in two files both."""
    found: dict[tuple[Hashable, ...], RunConfig] = {}
    for one in configs:
        shaped = (
            one.data,
            one.recipe,
            one.recipe.file,
            one.execution,
            one.init,
            json.dumps(one.declared, sort_keys=True),
        )
        found.setdefault(shaped, one)
    return list(found.values())


def _move(config: RunConfig, there: RunConfig) -> RunConfig:
    data = config.data.model_copy(update={"spec": there.data.spec})
    recipe = config.recipe.model_copy(update={"file": there.recipe.file})
    return config.model_copy(update={"data": data, "recipe": recipe})


def _list_arms(records: Sequence[RunRecord], outline: ReportOutline) -> list[str]:
    """``--arm`` for each, where the study has others than these."""
    arms = dict.fromkeys(outline.arms or map(name_arm, records))
    return [word for arm in arms for word in ("--arm", arm)] if outline.other_arms else []


def _list_place(records: Sequence[RunRecord], outline: ReportOutline) -> list[str]:
    """Device, cells at once and threads, by which numbers round, where all runs have the same, and the study's folder.

    Where it is not known how many cells ran at once, it is as many as the machine had room for.
    """
    is_study = records[0].study is not None
    out = outline.place if is_study else None
    words = ["--out", out] if out is not None and out != f"runs/{records[0].study}" else []
    where = {(one.device.partition(":")[0], one.devices, one.threads) for one in (run.environment for run in records)}
    if len(where) > 1:
        return words
    device, devices, threads = where.pop()
    words = [*(["--devices", str(devices)] if devices > 1 else []), *words]
    if device != "cpu":
        return ["--device", device, *words]
    threads *= devices
    if not is_study:
        return ["--device", device, "--threads", str(threads), *words]
    jobs = outline.jobs or min(run.environment.num_cores for run in records) // threads
    jobs = max(1, min(jobs, MOST_THREADS // threads))
    return ["--device", device, "--jobs", str(jobs), "--threads", str(jobs * threads), *words]


def _list_rule(rule: StoppingRule) -> list[str]:
    effect = [] if rule.smallest_effect is None else ["--smallest-effect", f"{rule.smallest_effect:g}"]
    return ["--until", "decided", *effect, "--max-seeds", str(rule.looks[-1])]


def _list_flags(config: RunConfig, declared: Collection[str] = ()) -> list[str]:
    """The options that shape a run: of its data, its recipe and, where they are not at their default, its execution.

    What the study has arms declare, or tunes, is not asked for: no flag may.
    """
    words = spell_flags(RunOptions.of_run(config).leave_out(declared), tuple(RunOptions.model_fields))
    words += spell_flags(config.execution, ExecutionConfig.list_settings(Effect.NUMBERS))
    return words + (["--uncounted"] if config.execution.uncounted else [])
