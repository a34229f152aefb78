"""`train` and `load_run`: one run, and what came of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vtbench.api.asking import read_execution, read_options
from vtbench.errors import UserError
from vtbench.mistakes import read_path
from vtbench.records import RunRecord
from vtbench.run_options import TrainOptions, mention_older, name_run

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn

    from vtbench.training.trained import TrainedRun


class RunFailed(RuntimeError):  # noqa: N818 - named as the status of its record is.
    """A run came to no result; ``run`` has its record, and ``vtbench.train`` with the same arguments tries again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(f"{run.record.variant}, seed {run.record.seed}, failed: {run.record.error} Run: {run.folder}")


@dataclass(frozen=True, repr=False)
class Run:
    """A run in its folder. ``record`` holds everything that is known of it."""

    folder: Path
    record: RunRecord

    @property
    def outcome(self) -> dict[str, float]:
        """The metrics of the last epoch on the validation images; empty where the run failed."""
        return dict(self.record.outcome) if isinstance(self.record.outcome, dict) else {}

    @property
    def epochs(self) -> DataFrame:
        """One row an epoch: loss and metrics of both splits, seconds and images a second."""
        import pandas as pd

        from vtbench.api.tables import list_epochs
        from vtbench.records import TimingRecord, load_lines
        from vtbench.run_folder import TIMING

        times = self.folder / TIMING
        return pd.DataFrame(list_epochs(self.record, tuple(load_lines(times, TimingRecord)) if times.exists() else ()))

    def load_model(self) -> nn.Module:
        """The trained network in evaluation mode, its weights verified; `preparation` says what images it expects."""
        return self._open().model

    @property
    def preparation(self) -> dict[str, Any]:
        """What the network expects, and what it answers with.

        ``image_size`` is (height, width) in pixels, ``mean`` and ``std`` are of the channels (3) of RGB from 0 to 1, by
        which images (B, 3, H, W) are normalised, and ``class_names`` are in the order of the scores.
        """
        note = self._open().note
        return {name: getattr(note, name) for name in ("image_size", "mean", "std", "class_names")}

    def _open(self) -> TrainedRun:
        import vtbench.models  # noqa: F401  (fills the registry)
        from vtbench.training.trained import load_run

        return load_run(self.folder)

    def __repr__(self) -> str:
        facts = dict(self._list_facts())
        first = next((f"{name} {text}" for name, text in facts.items()), "")
        return f"Run({self.record.variant}, seed {self.record.seed}: {first}; {self.folder})"

    def _repr_html_(self) -> str:
        from vtbench.documents.html import to_html
        from vtbench.documents.table import make_table

        title = f"{self.record.variant}, seed {self.record.seed}"
        return to_html(make_table(("", ""), self._list_facts(), title=title))

    def _list_facts(self) -> list[tuple[str, str]]:
        from vtbench.cli.verb_train import list_facts

        if self.record.status == "failed":
            return [("failed:", self.record.error or "unknown")]
        return list_facts(self.record, self.folder)


def load_run(folder: str | Path) -> Run:
    """The finished run in ``folder``, as `train` gave it; its data need not be there.

    Raises `vtbench.errors.UserError` where there is no finished run or its weights are gone; they are verified when
    they are read.

    >>> import vtbench
    >>> options = {"recipe": "small", "epochs": 1, "limit_train": 20, "limit_val": 10, "threads": 1}
    >>> trained = vtbench.train("resnet20:width=2", "runs/narrow", **options, progress=False)
    >>> run = vtbench.load_run("runs/narrow")
    >>> run.record == trained.record, run.preparation["image_size"]
    (True, (32, 32))
    >>> network = run.load_model()  # a torch.nn.Module in evaluation mode
    """
    from vtbench.training.folder import find_finished

    found = read_path("vtbench.load_run: folder", folder)
    return Run(found, find_finished(found))


def train(
    model: str,
    out: str | Path | None = None,
    *,
    data: str = "scenes",
    recipe: str = "default",
    epochs: int | None = None,
    teacher: str | None = None,
    init: str | None = None,
    freeze: list[str] | None = None,
    limit_train: int | None = None,
    limit_val: int | None = None,
    image_size: int | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    label_smoothing: float | None = None,
    clip: float | None = None,
    device: str = "auto",
    devices: int = 1,
    threads: int | None = None,
    workers: int = 0,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    channels_last: bool = True,
    compile: bool = False,
    accumulate: int = 1,
    eval_batch_size: int | None = None,
    checkpoint_seconds: float = 60.0,
    shard_optimizer: bool = False,
    uncounted: bool = False,
    track: str | Sequence[str] | None = None,
    progress: bool = True,
) -> Run:
    """Train ``model`` into the folder ``out`` and evaluate it after each epoch, as ``vtbench train`` does.

    The options are those of the command line, ``settings`` are those of ``--set`` by their keys. Without ``out`` the
    folder lies below ``runs/`` and is named by the options. The same call again goes on where a run was interrupted or
    killed, to the same bits, and reads a finished one. ``progress`` prints a line an epoch; ``track`` names trackers
    that are told, too, such as "tensorboard". A model ``FILE.py:CALLABLE`` runs that file's code.

    Raises `vtbench.errors.UserError` for what cannot be used, and `RunFailed` where training came to no result.

    >>> import vtbench
    >>> run = vtbench.train(
    ...     "resnet20:width=2", recipe="small", epochs=1, limit_train=20, limit_val=10, threads=1, progress=False
    ... )
    >>> run.record.status, sorted(run.outcome)
    ('finished', ['loss', 'top1_percent'])
    >>> run.epochs[["epoch", "learning_rate"]].to_dict("records")
    [{'epoch': 1, 'learning_rate': 0.1}]
    >>> sum(parameter.numel() for parameter in run.load_model().parameters())
    4492
    """
    given = dict(locals())
    if not isinstance(model, str):
        raise UserError(
            f"train takes the name of a model and got {type(model).__name__}. For a network of your own write what "
            "builds it into a file and give FILE.py:CALLABLE."
        )
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.api.told import tell_trackers
    from vtbench.trackers.tracking import RunTracking
    from vtbench.training import ListenerGroup, train_run
    from vtbench.training.request import plan_run
    from vtbench.variants import leave_folder_out

    options, execution = read_options(TrainOptions, given, "train"), read_execution(given, "train")
    config = plan_run(model, options, execution)
    named = (leave_folder_out(model), options, execution, config.recipe)
    folder = read_path("vtbench.train: out", out) if out is not None else Path("runs") / name_run(*named)
    if out is None and (older := mention_older(folder, *named)):
        warnings.warn(older, stacklevel=2)
    with tell_trackers(track, folder, folder.absolute().parent.name) as tracking, _show(progress) as shown:
        told = RunTracking(tracking, folder, folder.absolute().name)
        run = Run(folder, train_run(config, folder, listener=ListenerGroup(*filter(None, (shown, told)))))
    if run.record.status == "failed":
        raise RunFailed(run)
    return run


def _show(progress: bool) -> Any:
    if not progress:
        return nullcontext()
    from contextlib import contextmanager

    from vtbench.cli.progress import LiveDisplay, RunDisplay
    from vtbench.documents.terminal import open_console

    @contextmanager
    def show() -> Any:
        with LiveDisplay(open_console()) as display:
            yield RunDisplay(display)

    return show()
