"""`load_runs`: finished runs as a table of pandas."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vtbench.errors import UserError
from vtbench.mistakes import read_paths
from vtbench.records import CostRecord, NotMeasured, RunRecord, TimingRecord
from vtbench.reporting.outline import name_arm

if TYPE_CHECKING:
    from pandas import DataFrame

    from vtbench.reporting.runs import FoundRun


def load_runs(*folders: str | Path | Sequence[str | Path], per: Literal["run", "epoch"] = "run") -> DataFrame:
    """All runs beneath ``folders`` (studies, single runs, archived reports), one row a run, or one a run and epoch.

    Columns of a run are its study, arm, variant and seed, how it ended, the metrics of its task, raw costs, the time
    that it took, and every setting by its dotted key, such as ``recipe.optimizer.learning_rate``. ``folder`` is where
    its record lies and ``study_folder`` the study or archive around that, None for a run by itself: they tell apart
    what several studies call alike. A row of an epoch has the loss and the metrics of both splits. What there is not is
    NaN or None. Runs that cannot be read are warned of.

    Raises `vtbench.errors.UserError` where there is no run.

    >>> import vtbench
    >>> options = {"recipe": "small", "epochs": 2, "limit_train": 20, "limit_val": 10, "device": "cpu", "threads": 1}
    >>> run = vtbench.train("resnet20:width=2", "runs/narrow", **options, progress=False)
    >>> runs = vtbench.load_runs("runs")
    >>> runs[["folder", "variant", "seed", "macs", "recipe.epochs"]].to_dict("records")
    [{'folder': 'runs/narrow', 'variant': 'resnet20:width=2', 'seed': 0, 'macs': 682064, 'recipe.epochs': 2}]
    >>> vtbench.load_runs("runs", per="epoch")[["epoch", "learning_rate"]].shape
    (2, 2)
    """
    import pandas as pd

    from vtbench.reporting.runs import load_runs as read_runs

    places = read_paths("vtbench.load_runs: a folder", folders)
    if not places:
        raise UserError("Which runs? Give a folder of runs, such as runs/components.")
    if per not in ("run", "epoch"):
        raise UserError(f"per is {per!r}: one row a run is 'run', one a run and epoch is 'epoch'.")
    loaded = read_runs(*places)
    for left in loaded.left_out:
        if left not in loaded.repeated:
            warnings.warn(f"Left out: {left.path}: {left.reason}", stacklevel=2)
    if per == "epoch":
        return pd.DataFrame(
            {**_place(one), **row} for one in loaded.found for row in list_epochs(one.record, one.timings)
        )
    rows = [{**_place(one), **_list_numbers(one.record, one.timings)} for one in loaded.found]
    settings = pd.json_normalize([_list_settings(one.record) for one in loaded.found])
    return pd.concat([pd.DataFrame(rows), settings], axis="columns")


def list_epochs(record: RunRecord, timings: tuple[TimingRecord, ...] = ()) -> Iterator[dict[str, Any]]:
    """One row an epoch, counted from 1."""
    times = {timing.epoch: timing for timing in timings}
    for epoch in record.epochs:
        time = times.get(epoch.epoch)
        yield {
            **_name(record),
            "epoch": epoch.epoch + 1,
            "learning_rate": epoch.learning_rate,
            **_prefix("train", epoch.train),
            **_prefix("val", epoch.val),
            **_prefix("averaged_val", epoch.averaged_val or {}),
            "seconds": time.seconds if time else None,
            "train_images_per_second": time.train_images_per_second if time else None,
        }


def _place(one: FoundRun) -> dict[str, str | None]:
    return {"folder": str(one.path.parent), "study_folder": None if one.study is None else str(one.study)}


def _name(record: RunRecord) -> dict[str, Any]:
    return {"study": record.study, "arm": name_arm(record), "variant": record.variant, "seed": record.seed}


def _prefix(split: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{split}_{key}": value for key, value in numbers.items()}


def _list_numbers(record: RunRecord, timings: tuple[TimingRecord, ...]) -> dict[str, Any]:
    return {
        **_name(record),
        "task": record.task,
        "status": record.status,
        **({} if isinstance(record.outcome, NotMeasured) else record.outcome),
        "macs": record.costs.macs if isinstance(record.costs, CostRecord) else None,
        "params": record.costs.params if isinstance(record.costs, CostRecord) else None,
        "num_train": record.num_train,
        "num_val": record.num_val,
        "num_classes": record.num_classes,
        "seconds": sum(timing.seconds for timing in timings) if timings else None,
        "error": record.error,
    }


def _list_settings(record: RunRecord) -> dict[str, Any]:
    return record.config.model_dump(mode="json", exclude={"variant", "seed"})
