import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import stand_in_cells
from stand_in_cells import COSTS, make_study

from vtbench.errors import UserError
from vtbench.studies import probe, split
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEpoch, CellStarted
from vtbench.studies.executor import CellResult, CellWatcher
from vtbench.studies.local_processes import LocalProcesses, make_slots
from vtbench.studies.split import Split, choose_split, read_split, write_split
from vtbench.training import StopRequest


class SpeedyExecutor:
    """Pretends that an epoch of 1000 images takes ``seconds`` with that many threads."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, cells: Sequence[Cell], *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        for cell in cells:
            watcher.on_begin(cell)
        started = CellStarted(epochs=4, first_epoch=0, batches_per_epoch=10, num_train=1000, num_val=0, costs=COSTS)
        for cell in cells:
            watcher.on_event(cell, started)
        for cell in cells:
            watcher.on_event(
                cell, CellEpoch(epoch=0, train_loss=1.0, outcome={"top1_percent": 10.0}, seconds=self.seconds)
            )
            yield CellResult(cell, "stopped", self.seconds)


class BrokenExecutor:
    """Every cell fails at once."""

    def run(self, cells: Sequence[Cell], *, watcher: CellWatcher, stop: StopRequest) -> Iterator[CellResult]:
        for cell in cells:
            watcher.on_begin(cell)
            yield CellResult(cell, "failed", 0.0, "no such thing")


def choose(
    num_cells: int = 8,
    *,
    seconds: dict[int, float] | None = None,
    jobs: int | None = None,
    threads: int | None = 4,
    num_gpus: int = 0,
    before: Split | None = None,
) -> Split:
    cells = list_cells(make_study({"a": "resnet20"}, seeds=num_cells), Path("nowhere"))
    times = seconds or {}
    return choose_split(
        cells,
        jobs=jobs,
        total_threads=threads,
        num_gpus=num_gpus,
        before=before,
        make_executor=lambda j, t: SpeedyExecutor(times[t]) if t in times else BrokenExecutor(),
        stop=StopRequest(),
    )


def test_the_fastest_measured_split_is_taken() -> None:
    many = choose(seconds={4: 1.0, 2: 1.8, 1: 3.0})
    assert (many.jobs, many.threads) == (4, 1)
    assert [(m.jobs, m.threads, m.images_per_second) for m in many.measured] == [
        (1, 4, 1000.0),
        (2, 2, 1111.1),
        (4, 1, 1333.3),
    ]
    one = choose(seconds={4: 1.0, 2: 2.5, 1: 6.0})
    assert (one.jobs, one.threads) == (1, 4)


def test_a_split_that_fails_is_not_taken() -> None:
    assert choose(seconds={4: 1.0, 2: 2.1}).jobs == 1


def test_nothing_measurable_means_one_cell_at_a_time() -> None:
    chosen = choose()
    assert (chosen.jobs, chosen.threads) == (1, 4)
    assert "could not measure" in chosen.reason


def test_no_more_cells_at_once_than_there_are() -> None:
    assert choose(2, seconds={4: 4.0, 2: 1.0, 1: 0.1}).jobs == 2
    assert choose(3, jobs=8).jobs == 3
    assert choose(1).jobs == 1


def test_what_the_user_wants_is_not_measured() -> None:
    chosen = choose(jobs=2)
    assert (chosen.jobs, chosen.threads, chosen.measured) == (2, 2, ())


def test_more_jobs_than_threads_leave_one_thread_each() -> None:
    assert choose(jobs=8).threads == 1


def test_with_gpus_there_is_one_cell_a_gpu() -> None:
    chosen = choose(num_gpus=2)
    assert (chosen.jobs, chosen.threads) == (2, 2)


def test_the_threads_of_a_study_that_has_begun_are_kept() -> None:
    before = Split(jobs=2, threads=2, reason="the fastest measured")
    assert choose(before=before, threads=8).model_dump(include={"jobs", "threads"}) == {"jobs": 4, "threads": 2}
    assert choose(before=before, jobs=1).threads == 2


def test_all_cores_are_shared_out_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "count_cores", lambda: 6)
    assert choose(jobs=2, threads=None).threads == 3
    assert split.count_cores() == 6


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= split.count_cores() <= (os.cpu_count() or 1)


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    chosen = choose(seconds={4: 1.0, 2: 1.8, 1: 3.0})
    write_split(tmp_path, chosen)
    assert read_split(tmp_path) == chosen
    assert read_split(tmp_path / "elsewhere") is None


def test_a_damaged_split_is_named(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(UserError, match=r"split\.json is damaged"):
        read_split(tmp_path)


def measure(arms: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(probe, "MEASURE_SECONDS", 0.2)
    cells = list_cells(make_study(dict.fromkeys(arms, "resnet20"), seeds=1), Path("nowhere"))
    executor = LocalProcesses(make_slots(len(arms), threads=1), command=stand_in_cells.COMMAND)
    return list(probe.measure_speeds(cells, executor, stop=StopRequest()))


def test_the_probe_measures_while_all_cells_are_training(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = measure(["slow", "slow2"], monkeypatch)
    for speed in speeds:
        assert isinstance(speed, probe.CellSpeed)
        assert speed.epoch_seconds == pytest.approx(0.05 * 10 * (1 + 100 / 1000 / 3), rel=0.4)
        assert speed.run_seconds > 4 * speed.epoch_seconds
        assert speed.run_macs == 1_000_000 * (3 * 1000 + 100) * 4


def test_the_probe_names_what_it_could_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = measure(["raises"], monkeypatch)
    assert getattr(speeds[0], "reason", "") == "ValueError: a mistake in the code"


def test_the_probe_heeds_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    stop.request()
    cells = list_cells(make_study({"slow": "resnet20"}, seeds=1), Path("nowhere"))
    executor = LocalProcesses(make_slots(1, threads=1), command=stand_in_cells.COMMAND)
    assert getattr(probe.measure_speeds(cells, executor, stop=stop)[0], "reason", "") == "no batch was completed"
