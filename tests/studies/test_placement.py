import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import COSTS, FACTS, IN_PROCESS, LOCAL, SpeedyExecutor, make_study, run_cell

from vtbench.errors import UserError
from vtbench.studies import executor, probe
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.executor import CellResult, Executor, Session, count_cores
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.placement import (
    MeasuredPlacement,
    Placement,
    choose_placement,
    read_placement,
    weigh_cells,
    write_placement,
)
from vtbench.studies.ways import TriedWay
from vtbench.training import RunStart, StopRequest


def choose(
    num_cells: int = 8,
    *,
    seconds: dict[int, float] | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    num_gpus: int = 0,
    shares_gpus: bool = False,
    before: Placement | None = None,
) -> Placement:
    cells = list_cells(make_study({"a": "resnet20"}, seeds=num_cells), Path("nowhere"))
    seconds = seconds or {}
    executor = SpeedyExecutor(seconds, num_gpus=num_gpus, shares_gpus=shares_gpus)
    executor.in_turns = SpeedyExecutor({threads: 1.2 * one for threads, one in seconds.items()})
    return choose_placement(
        cells, Session(executor, StopRequest(), jobs=jobs, threads=threads), before=before, facts=FACTS
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


def test_the_last_cells_share_the_cores_where_the_user_left_the_number_to_us_and_each_has_one_thread() -> None:
    measured = choose(seconds={4: 1.0, 2: 1.8, 1: 3.0})
    assert measured.shares_at_the_end
    assert choose(before=measured).shares_at_the_end
    assert not choose(before=measured, jobs=2).shares_at_the_end
    assert not choose(seconds={4: 1.0, 2: 1.8, 1: 9.0}).shares_at_the_end, "two cells of two threads"
    assert not choose(jobs=4).shares_at_the_end
    assert not choose(num_gpus=2).shares_at_the_end


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
    assert chosen.reason == "--jobs, and all 4 cores"


def test_more_jobs_than_threads_leave_one_thread_each() -> None:
    assert choose(jobs=8).threads == 1


def test_where_gpus_cannot_be_shared_there_is_one_cell_a_gpu() -> None:
    chosen = choose(num_gpus=2)
    assert (chosen.jobs, chosen.threads, chosen.reason) == (2, 2, "one cell a GPU")


def test_small_networks_share_a_gpu_where_more_of_them_at_once_are_faster() -> None:
    seconds = {4: 1.0, 2: 1.1, 1: 2.3}
    chosen = choose(seconds=seconds, num_gpus=1, shares_gpus=True)
    ways = [(1, 4, False), (2, 2, False), (4, 1, False), (2, 2, True), (4, 1, True)]
    assert [(one.jobs, one.threads, one.in_turns) for one in chosen.measured] == ways
    speeds = [one.images_per_second for one in chosen.measured]  # Less a moment of loading.
    assert speeds == pytest.approx([1000.0, 1818.2, 1739.1, 1515.2, 1449.3], rel=0.02)
    assert (chosen.jobs, chosen.threads, chosen.takes_turns, chosen.shares_at_the_end) == (2, 2, False, False)
    two = choose(seconds=seconds, num_gpus=2, shares_gpus=True)
    assert [(one.jobs, one.in_turns) for one in two.measured] == [(2, False), (4, False), (4, True)]
    assert choose(1, seconds=seconds, num_gpus=1, shares_gpus=True).reason == "one cell a GPU"
    one_a_core = choose(seconds={4: 3.0, 2: 2.0, 1: 1.0}, num_gpus=1, shares_gpus=True)
    assert (one_a_core.jobs, one_a_core.shares_at_the_end) == (4, False)
    before = Placement(jobs=2, threads=1, reason="the fastest measured")
    assert choose(before=before, num_gpus=1, shares_gpus=True).jobs == 2, "no more than its memory was seen to hold"


def test_more_cells_than_a_gpu_has_memory_for_are_not_taken() -> None:
    assert choose(seconds={4: 1.0}, num_gpus=1, shares_gpus=True).jobs == 1


def test_cells_take_turns_in_one_process_a_gpu_where_that_is_measured_to_be_faster(tmp_path: Path) -> None:
    there = SpeedyExecutor({4: 1.0, 2: 1.1, 1: 2.3}, num_gpus=1, shares_gpus=True)
    there.in_turns = SpeedyExecutor({2: 1.0, 1: 1.2})
    cells = list_cells(make_study({"a": "resnet20"}, seeds=8), Path("nowhere"))
    chosen = choose_placement(cells, Session(there, StopRequest()), before=None, facts=FACTS)
    assert (chosen.jobs, chosen.takes_turns) == (4, True)
    assert chosen.at_once == "4 at once, in turns in one process a GPU, 1 thread each"
    assert str(chosen.measured[-1]) == "4 x 1 in turns: 3,333 images/s"
    assert chosen.fit(there) is there.in_turns
    write_placement(tmp_path, chosen)
    again = choose_placement(cells, Session(there, StopRequest()), before=read_placement(tmp_path), facts=FACTS)
    assert (again.jobs, again.takes_turns) == (4, True)

    compiled = [cell.with_execution(compile=True) for cell in cells]
    alone = choose_placement(compiled, Session(there, StopRequest()), before=None, facts=FACTS)
    asked = choose_placement(cells, Session(there, StopRequest(), ways=("compile",)), before=None, facts=FACTS)
    for one in (alone, asked):
        assert [(way.jobs, way.in_turns) for way in one.measured] == [(1, False), (2, False), (4, False)]
    few = choose_placement(cells[:1], Session(there, StopRequest()), before=read_placement(tmp_path), facts=FACTS)
    assert (few.jobs, few.takes_turns) == (1, False)
    write_placement(tmp_path, few)
    again = choose_placement(cells, Session(there, StopRequest()), before=read_placement(tmp_path), facts=FACTS)
    assert (again.jobs, again.takes_turns) == (4, True)
    one = choose_placement(cells, Session(there, StopRequest(), jobs=1), before=again, facts=FACTS)
    assert "in turns" not in one.at_once
    on_cpus = choose(seconds={4: 1.0, 2: 1.8, 1: 3.0})
    assert not any(way.in_turns for way in on_cpus.measured)


def test_turns_count_only_where_cells_took_them_and_with_the_time_that_cells_take_to_load() -> None:
    class Without(SpeedyExecutor):
        took_turns = False

    cells = list_cells(make_study({"a": "resnet20"}, seeds=8), Path("nowhere"))
    there = SpeedyExecutor({4: 1.0, 2: 1.1, 1: 2.3}, num_gpus=1, shares_gpus=True)
    there.in_turns = Without({2: 0.1, 1: 0.1})
    chosen = choose_placement(cells, Session(there, StopRequest()), before=None, facts=FACTS)
    assert not any(one.in_turns for one in chosen.measured)
    run = RunStart("classification", "resnet20", "x", 0, "cuda", 4, 10, 1000, 100, 10, 0, 0, COSTS)
    speed = probe.CellSpeed(cells[0], run, epoch_seconds=1.0, start_seconds=4.0)
    assert (speed.images_per_second, speed.run_images_per_second) == (1000.0, 500.0)


def test_other_ways_are_tried_as_the_cells_are_placed() -> None:
    there = SpeedyExecutor({4: 1.0}, num_gpus=1, shares_gpus=True)
    there.in_turns = in_turns = Probed()
    cells = list_cells(make_study({"a": "resnet20"}, seeds=8), Path("nowhere"))
    placed = choose_placement(cells, Session(there, StopRequest(), ways=("bfloat16",)), before=None, facts=FACTS)
    assert (placed.takes_turns, [one.way for one in placed.tried]) == (True, ["bfloat16"])
    assert in_turns.probed == [("a", jobs) for jobs in (2, 4, 4, 4)]


class Probed(SpeedyExecutor):
    """A machine with one GPU, where taking turns makes no difference, that notes what is probed on it."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys((64, 32, 16, 8, 4, 2, 1), 1.0), cores=64, num_gpus=1, shares_gpus=True)
        self.probed: list[tuple[str, int]] = []

    def run(self, cells: Sequence[Cell], jobs: int, **given: Any) -> Iterator[CellResult]:
        self.probed.append((cells[0].arm, len(cells)))
        return super().run(cells, jobs, **given)


ARMS = {"light": "resnet20:width=4", "heavy": "resnet20:width=16", "middle": "resnet20:width=8"}


def test_a_gpu_is_shared_by_up_to_eight_cells_of_the_arm_that_takes_most_memory() -> None:
    cells, there = list_cells(make_study(ARMS, seeds=34), Path("nowhere")), Probed()
    choose_placement(cells, Session(there, StopRequest()), before=None, facts=FACTS)
    assert there.probed == [("heavy", jobs) for jobs in (1, 2, 4, 8, 2, 4, 8)]


def test_memory_is_of_what_a_step_keeps_of_a_batch_and_of_parameters_and_unknown_memory_is_more_than_any() -> None:
    def find(arms: dict[str, str], facts: Any = FACTS, **changes: Any) -> str:
        weights = weigh_cells(list_cells(make_study(arms, **changes), Path("nowhere")), facts)
        return max(weights, key=lambda cell: weights[cell]).arm

    assert find(ARMS, treatments={"light": {"recipe.batch_size": 4096}}) == "light"
    assert find(ARMS, replace(FACTS, of_arms={"middle": replace(FACTS, image_size=(256, 256))})) == "middle"
    # vt_resnet20 has fewer MACs than resnet20 and keeps more.
    assert find({"convolution": "resnet20", "tokens": "vt_resnet20"}) == "tokens"
    assert find({"bad": "resnet20:widht=2", **ARMS}) == "bad"


def test_a_study_of_which_few_cells_were_left_shares_a_gpu_again_as_was_measured() -> None:
    measured = tuple(MeasuredPlacement(jobs=n, threads=4 // n, images_per_second=n) for n in (1, 2, 4))
    before = Placement(jobs=4, threads=1, reason="the fastest measured", measured=measured)
    few = choose(2, before=before, num_gpus=1, shares_gpus=True)
    assert few.jobs == 2
    assert choose(before=few, num_gpus=1, shares_gpus=True).jobs == 4
    slower = before.model_copy(
        update={"jobs": 1, "measured": (*measured[:2], measured[2].model_copy(update={"images_per_second": 1.0}))}
    )
    assert choose(before=slower, num_gpus=1, shares_gpus=True).jobs == 2, "four at once were slower"


def go_on(arms: dict[str, str], before: Placement | None, there: Probed, **more: Any) -> Placement:
    treatments = more.pop("treatments", {})
    cells = list_cells(make_study(arms, seeds=8, treatments=treatments), Path("nowhere"))
    session = Session(there, StopRequest(), jobs=more.pop("jobs", None))
    return choose_placement(cells, session, before=before, facts=FACTS, **more)


def test_a_larger_arm_that_is_added_is_measured_again_with_the_threads_of_the_study(tmp_path: Path) -> None:
    begun = go_on({"light": ARMS["light"]}, None, there := Probed())
    assert (begun.jobs, begun.threads, there.probed[-1]) == (8, 8, ("light", 8))
    write_placement(tmp_path, begun)
    kept = read_placement(tmp_path)
    assert kept == begun and kept.weighed is not None and kept.weighed.cells == (("light", 256),)

    class Smaller(Probed):
        """Its memory holds four of the larger cells, in the way that the study took."""

        def run(self, cells: Sequence[Cell], jobs: int, **given: Any) -> Iterator[CellResult]:
            assert cells[0].config.execution.precision == "bfloat16"
            self.seconds = {} if len(cells) > 4 else {8: 1.0}
            return super().run(cells, jobs, **given)

    kept = kept.model_copy(update={"tried": (TriedWay(way="bfloat16", taken=True),)})
    grown = go_on(ARMS, kept, there := Smaller())
    assert there.probed == [("heavy", jobs) for jobs in (1, 2, 4, 8, 2, 4, 8)]
    assert (grown.jobs, grown.threads) == (4, 8)
    assert {one.threads for one in grown.measured} == {8}
    assert "of a larger arm, and the threads a cell that the study was begun with" in grown.reason
    again = go_on(ARMS, grown, there := Smaller())
    assert (again.jobs, there.probed) == (4, [])


def test_no_larger_arm_the_users_number_and_an_older_placement_are_not_measured_again() -> None:
    begun = go_on({"heavy": ARMS["heavy"]}, None, Probed())
    there = Probed()
    assert (go_on(ARMS, begun, there).jobs, there.probed) == (8, [])
    light = go_on({"light": ARMS["light"]}, None, Probed())
    assert go_on(ARMS, light, there, jobs=3).jobs == 3
    assert go_on(ARMS, light.model_copy(update={"weighed": None}), there).jobs == 8, "not known what was measured"
    unmeasured = go_on(ARMS, light, there, may_measure=False)
    assert (unmeasured.jobs, there.probed) == (1, []) and "one cell a GPU" in unmeasured.reason
    assert go_on(ARMS, unmeasured, there).jobs == 8 and there.probed, "it is still to be measured"


def test_a_larger_batch_and_a_network_that_cannot_be_counted_are_larger_too() -> None:
    begun = go_on({"light": ARMS["light"]}, None, Probed())
    batch = go_on({"light": ARMS["light"]}, begun, there := Probed(), treatments={"light": {"recipe.batch_size": 999}})
    assert there.probed and batch.weighed is not None and batch.weighed.cells == (("light", 256), ("light", 999))
    bad = go_on({"light": ARMS["light"], "bad": "resnet20:widht=2"}, begun, there := Probed())
    assert there.probed[0][0] == "bad" and bad.weighed is not None and bad.weighed.bytes is None
    go_on({**ARMS, "bad": "resnet20:widht=2"}, bad, there := Probed())
    assert there.probed == [], "nothing that is counted is larger"


def test_the_threads_of_a_study_that_has_begun_are_kept() -> None:
    before = Placement(jobs=2, threads=2, reason="the fastest measured")
    assert choose(before=before, threads=8).model_dump(include={"jobs", "threads"}) == {"jobs": 4, "threads": 2}
    assert choose(before=before, jobs=1).threads == 2
    assert choose(before=before).reason == "the threads a cell that the study was begun with"


def test_all_cores_are_shared_out_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "count_cores", lambda: 6)
    assert Executor.affinity(IN_PROCESS, "cpu").threads == 6
    assert choose(jobs=2).threads == 2
    assert choose(jobs=2, threads=6).threads == 3


def test_more_jobs_than_the_executor_can_have_are_refused() -> None:
    cells = list_cells(make_study(), Path("nowhere"))
    with pytest.raises(UserError, match="--jobs was given 2, and this executor runs 1 at once"):
        choose_placement(cells, Session(IN_PROCESS, StopRequest(), jobs=2), before=None, facts=FACTS)
    chosen = choose_placement(cells, Session(IN_PROCESS, StopRequest(), threads=4), before=None, facts=FACTS)
    assert (chosen.jobs, chosen.threads, chosen.measured) == (1, 4, ())


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    chosen = choose(seconds={4: 1.0, 2: 1.8, 1: 3.0})
    write_placement(tmp_path, chosen)
    assert read_placement(tmp_path) == chosen
    assert "weighed" not in (tmp_path / "split.json").read_text(), "of cells that share no GPU"
    assert read_placement(tmp_path / "elsewhere") is None


def test_a_damaged_split_is_named(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(UserError, match=r"split\.json is damaged"):
        read_placement(tmp_path)


def measure(
    arms: Sequence[str], monkeypatch: pytest.MonkeyPatch, executor: Executor, stop: StopRequest | None = None
) -> list[object]:
    monkeypatch.setattr(probe, "MEASURE_SECONDS", 0.2)
    cells = list_cells(make_study(dict.fromkeys(arms, "resnet20"), seeds=1), Path("nowhere"))
    return list(probe.measure_speeds(cells, Session(executor, stop or StopRequest())))


def test_the_probe_measures_while_all_cells_are_training(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = measure(["slow", "slow2"], monkeypatch, LOCAL)
    for speed in speeds:
        assert isinstance(speed, probe.CellSpeed)
        assert speed.epoch_seconds > 0.01 * 10  # Steps take 0.05 s; a busy machine may hear of several at once.
        assert speed.run_seconds > 4 * speed.epoch_seconds
        assert speed.run_macs == 1_000_000 * (3 * 1000 + 100) * 4


def test_the_probe_names_what_it_could_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = measure(["raises"], monkeypatch, IN_PROCESS)
    assert getattr(speeds[0], "reason", "") == "ValueError: a mistake in the code"


def test_the_probe_runs_in_the_scratch_folder_of_its_executor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Elsewhere(InProcess):
        def scratch(self) -> AbstractContextManager[str]:
            return nullcontext(str(tmp_path))

    measure(["raises"], monkeypatch, Elsewhere(run_cell))
    assert (tmp_path / "0" / "log.txt").exists()


@pytest.mark.parametrize("executor", [LOCAL, IN_PROCESS], ids=["local", "in_process"])
def test_the_probe_heeds_a_stop(monkeypatch: pytest.MonkeyPatch, executor: Executor) -> None:
    stop = StopRequest()
    stop.request()
    speeds = measure(["slow"], monkeypatch, executor, stop)
    assert speeds == [probe.TOO_SLOW]
