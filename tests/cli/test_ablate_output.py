"""What a study prints while it runs and before it starts: fits 80 columns, and reads as plain lines in a pipe."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from vtbench.cli import resume_output, study_output
from vtbench.cli.progress import LiveDisplay
from vtbench.cli.study_progress import StudyDisplay
from vtbench.configuration import DataConfig, ExecutionConfig, Recipe
from vtbench.locking import Owner
from vtbench.records import CostRecord, EnvironmentRecord, EpochRecord, NotMeasured, RunRecord, TimingRecord
from vtbench.stats.stopping import StoppingRule
from vtbench.studies.cells import Cell, ResolvedStudy, list_cells
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.events import CellEpoch, CellMessage, CellProgress, CellStarted
from vtbench.studies.executor import CellResult
from vtbench.studies.placement import MeasuredPlacement, Placement
from vtbench.studies.planning import PlannedArm, StudyPlan
from vtbench.studies.probe import CellSpeed
from vtbench.studies.running import StudyState
from vtbench.studies.verification import ResumeCheck
from vtbench.training import BatchProgress, RunStart

COSTS = CostRecord(macs=12_345_678, params=98_765, input_shape=(3, 32, 32), num_classes=10)
ENVIRONMENT = EnvironmentRecord(
    vtbench="0",
    commit=None,
    dirty=None,
    python="3",
    platform="p",
    cpu="c",
    num_cores=2,
    threads=1,
    device="cpu",
    device_name="c",
    packages={},
)
STARTED = CellStarted(run=RunStart("classification", "resnet20", "x", 0, "cpu", 90, 10, 1000, 100, 10, 0, 0, COSTS))
BATCH = BatchProgress(0, 5, 10, {"loss": 2.0, "top1_percent": 5.0}, 500.0)
EPOCH = EpochRecord(epoch=0, learning_rate=0.1, train={"loss": 2.0}, val={"top1_percent": 12.5})
TIMING = TimingRecord(epoch=0, train_seconds=1.5, val_seconds=0.5, train_images_per_second=500.0)
FOLDER = Path("there")
FACTS = DataFacts(1000, 100, tuple("0123456789"), (32, 32), DataConfig())


def make_study(seeds: int = 3) -> ResolvedStudy:
    return ResolvedStudy(
        name="components",
        question="What do tokens buy?",
        base="vt_resnet20",
        reference="convolution",
        arms={
            "convolution": "resnet20",
            "dynamic+position": "vt_resnet18:stem=small,width=8,tokenizer=static,position=on",
        },
        data=DataConfig(),
        recipe=Recipe(name="small", epochs=90),
        seeds=seeds,
        execution=ExecutionConfig(device="cpu"),
    )


def make_record(cell: Cell, top1_percent: float | None) -> RunRecord:
    return RunRecord(
        task="classification",
        variant=cell.config.variant,
        seed=cell.config.seed,
        status="finished" if top1_percent else "failed",
        config=cell.config,
        environment=ENVIRONMENT,
        costs=COSTS,
        certificate=None,
        num_train=1000,
        num_val=100,
        num_classes=10,
        epochs=(),
        outcome={"top1_percent": top1_percent} if top1_percent else NotMeasured(reason="NaN"),
        weights_sha256=None,
    )


def open_display(*, terminal: bool) -> tuple[StudyDisplay, LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    display = LiveDisplay(Console(file=stream, width=80, force_terminal=terminal, highlight=False))
    return StudyDisplay(display, lambda *_: COSTS), display, stream


def make_state(seeds: int = 3, *, records: dict[Path, RunRecord] | None = None) -> StudyState:
    cells = tuple(list_cells(make_study(seeds), FOLDER))
    known = records or {}
    measured = (MeasuredPlacement(jobs=2, threads=1, images_per_second=1234.5),)
    placement = Placement(jobs=2, threads=1, reason="the fastest measured", measured=measured)
    waiting = tuple(cell for cell in cells if cell.folder not in known)
    owner = Owner(7, "here", "2026-01-01")
    return StudyState(make_study(seeds), FOLDER, cells, known, waiting, placement, owner, FACTS)


def run_two_cells(shown: StudyDisplay) -> StudyState:
    state = make_state()
    shown.on_measuring()
    shown.on_study(state)
    for cell in state.cells[:2]:
        shown.on_begin(cell)
        shown.on_event(cell, STARTED)
        shown.on_event(cell, CellProgress(progress=BATCH))
        shown.on_event(cell, CellEpoch(epoch=EPOCH, timing=TIMING))
    return state


def test_a_pipe_gets_plain_lines() -> None:
    shown, _, stream = open_display(terminal=False)
    state = run_two_cells(shown)
    first, second = state.cells[:2]
    shown.on_event(first, CellMessage(text="The cache was built."))
    shown.on_end(CellResult(first, "finished", 180.0))
    shown.on_record(first, make_record(first, 71.5))
    shown.on_end(CellResult(second, "failed", 10.0, "NaN"))
    shown.on_record(second, make_record(second, None))
    lines = stream.getvalue().splitlines()
    assert "The study was left by process 7 on here, since 2026-01-01, which is dead; going on with it." in lines
    assert "2 at once, 1 thread each (the fastest measured; 2 x 1: 1,234 images/s)" in lines
    assert "[0/6] convolution, seed 0: begins" in lines
    assert "[0/6] convolution, seed 0: The cache was built." in lines
    assert "[1/6] convolution, seed 0: finished with 71.50 %" in lines
    assert "[1/6] dynamic+position, seed 0: FAILED: NaN" in lines
    assert "\x1b" not in stream.getvalue()
    assert shown.failures_told == {second.label}


def test_the_last_frame_stays_and_has_every_cell() -> None:
    shown, display, stream = open_display(terminal=True)
    with display:
        state = run_two_cells(shown)
        for cell in state.cells:
            shown.on_begin(cell)
            shown.on_end(CellResult(cell, "finished", 180.0))
            shown.on_record(cell, make_record(cell, 71.5))
        shown.on_turn()
    last = stream.getvalue().rpartition("components: 6 of 6 cells done")[2]
    assert last.count("71.50") == 6 and "left" not in last
    assert "\x1b[1A" not in last and "\x1b[2K" not in last, "nothing is erased after it"


def test_a_cell_that_was_stopped_is_said_to_be_saved_only_if_it_is(tmp_path: Path) -> None:
    cells = list_cells(make_study(), tmp_path)[:2]
    (cells[0].folder / "checkpoint").mkdir(parents=True)
    (cells[0].folder / "checkpoint" / "00000001.safetensors").touch()
    shown, _, stream = open_display(terminal=False)
    shown.on_study(replace(make_state(), cells=tuple(cells)))
    for cell in cells:
        shown.on_begin(cell)
        shown.on_end(CellResult(cell, "stopped", 1.0))
    assert "convolution, seed 0: stopped and saved\n" in stream.getvalue()
    assert "dynamic+position, seed 0: stopped before there was anything to save" in stream.getvalue()


def test_epochs_are_told_now_and_then_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtbench.cli.study_progress._SECONDS_BETWEEN_LINES", 0.0)
    shown, _, stream = open_display(terminal=False)
    run_two_cells(shown)
    assert "convolution, seed 0: epoch 1/90  train loss 2.000  val 12.50 %; study:" in stream.getvalue()


def test_a_run_that_goes_on_says_where() -> None:
    shown, _, stream = open_display(terminal=False)
    state = make_state()
    shown.on_study(state)
    shown.on_begin(state.cells[0])
    shown.on_event(state.cells[0], CellStarted(run=replace(STARTED.run, first_epoch=41)))
    assert "convolution, seed 0: goes on in epoch 42" in stream.getvalue()


def render(display: LiveDisplay) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False).print(display._render())
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_terminal_shows_the_grid_and_the_running_cells_within_80_columns() -> None:
    shown, display, _ = open_display(terminal=True)
    state = run_two_cells(shown)
    shown.on_end(CellResult(state.cells[0], "finished", 180.0))
    shown.on_record(state.cells[0], make_record(state.cells[0], 71.5))
    shown.on_turn()
    lines = render(display)
    assert lines[0] == "components: 1 of 6 cells done, 8 min 58 s left"
    assert lines[1].split() == ["val", "%", "seed", "0", "seed", "1", "seed", "2"]
    assert lines[2].split() == ["convolution", "71.50", "·", "·"]
    assert lines[3].split() == ["dynamic+position", "1", "%…", "·", "·"]
    assert lines[-1].split()[:4] == ["dynamic+position,", "seed", "0", "2/90"]
    assert max(len(line) for line in lines) <= 80


def test_a_cell_that_is_still_loading_says_so() -> None:
    shown, display, _ = open_display(terminal=True)
    state = make_state()
    shown.on_study(state)
    shown.on_begin(state.cells[0])
    shown.on_begin(state.cells[1])
    assert render(display)[-1].split() == ["dynamic+position,", "seed", "0", "starts", "–", "–", "–", "–"]


def test_many_seeds_are_summed_up_in_the_grid() -> None:
    shown, display, _ = open_display(terminal=True)
    state = make_state(20)
    shown.on_study(state)
    for cell, accuracy in zip(state.cells[:4:2], (70.0, 72.0), strict=True):
        shown.on_begin(cell)
        shown.on_end(CellResult(cell, "finished", 1.0))
        shown.on_record(cell, make_record(cell, accuracy))
    shown.on_turn()
    assert render(display)[2].split() == ["convolution", "2/20", "71.00"]


def test_the_time_left_shares_the_waiting_cells_out_and_waits_for_the_longest() -> None:
    shown, _, _ = open_display(terminal=False)
    state = run_two_cells(shown)
    assert shown.seconds_left() == pytest.approx(89 * 2.0 + 2 * 180.0)
    for cell in state.cells[2:]:
        shown.on_record(cell, make_record(cell, 70.0))
    assert shown.seconds_left() == pytest.approx(89 * 2.0)


def make_plan(speed: float | None) -> StudyPlan:
    study = make_study()
    cells, unknown = list_cells(study, FOLDER), NotMeasured(reason="no such thing")
    arms = [
        PlannedArm(
            cell.arm,
            cell.config.variant,
            3,
            2,
            *((unknown, unknown, unknown) if seen is None else (seen.started.costs, seen.run_macs, seen)),
        )
        for cell in cells[:2]
        for seen in (speed and CellSpeed(cell, STARTED.run, speed, 3.0),)
    ]
    placement = Placement(jobs=2, threads=1, reason="as asked for")
    return StudyPlan(study, FOLDER, FACTS, placement, tuple(arms))


def print_in(monkeypatch: pytest.MonkeyPatch, plan: StudyPlan, *, width: int) -> list[str]:
    stream = io.StringIO()
    monkeypatch.setattr(study_output, "open_console", lambda: Console(file=stream, width=width, highlight=False))
    study_output.print_plan(plan)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_plan_shows_cells_macs_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = print_in(monkeypatch, make_plan(2.0), width=200)
    assert lines[0] == "components: What do tokens buy?"
    assert lines[4].split() == ["convolution", "2/3", "12.35", "0.099", "3", "min", "03", "s"]
    assert lines[7] == "convolution = resnet20"
    assert lines[-1] == ("4 of 6 cells to run, 2 at once, 1 thread each (as asked for): about 6 min 06 s, 13.78 TMACs")


def test_a_plan_of_nothing_and_one_until_decided_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(2.0)
    done = replace(plan, arms=tuple(replace(arm, num_open=0) for arm in plan.arms))
    assert print_in(monkeypatch, done, width=200)[-1] == "Nothing is left to run: all 6 cells have ended."
    rule = StoppingRule(looks=(3, 5), num_contrasts=1)
    until = replace(plan, study=plan.study.model_copy(update={"until": rule}))
    lines = print_in(monkeypatch, until, width=200)
    assert "At most so many: seeds are added, in looks at 3, 5 seeds, until all is decided." in lines


def test_a_plan_fits_80_columns_and_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = print_in(monkeypatch, make_plan(2.0), width=80)
    assert max(len(line) for line in lines if " = " not in line) <= 80
    assert "dynamic+position = vt_resnet18:stem=small,width=8,tokenizer=static,position=on" in lines
    assert any(line.split()[:3] == ["convolution", "2/3", "12.35"] for line in lines)


def test_what_a_plan_does_not_know_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(print_in(monkeypatch, make_plan(None), width=200))
    assert "time unknown (no such thing)" in text
    assert "MACs unknown (no such thing)" in text


def test_a_plan_and_a_study_that_begins_say_of_which_data_the_numbers_are_and_that_arms_have_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = make_plan(None)
    assert print_in(monkeypatch, plan, width=200)[1].startswith("scenes: 1,000 training and 100 validation images, 10")
    limited = DataConfig(spec="scenes:clutter=0", limit_train=200, image_size=16)
    mixed = replace(FACTS, num_train=200, image_size=(16, 16), data=limited, of_arms={"dynamic+position": FACTS})
    named = "scenes:clutter=0, image_size=16, limit_train=200 (1 of 2 arms has other data or limits)"
    both = replace(plan, facts=mixed)
    assert print_in(monkeypatch, both, width=200)[1].startswith(f"{named}: 200 training and 100 validation images, 10")
    written = study_output.list_plan(both)
    keys = ("data", "num_train", "image_size")
    assert [written[key] for key in keys] == ["scenes:clutter=0", 200, (16, 16)]
    assert [[arm.get(key) for key in keys] for arm in written["arms"]] == [[None] * 3, ["scenes", 1000, (32, 32)]]
    shown, _, stream = open_display(terminal=False)
    shown.on_study(replace(make_state(), facts=mixed))
    assert f"\non {named}, recipe small, 90 epochs\n" in stream.getvalue()


def test_a_plan_that_measured_nothing_does_not_say_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for speed, says in ((2.0, True), (None, False)):
        plan = make_plan(speed)
        some = replace(plan, arms=(plan.arms[0], *(replace(arm, is_estimated=True) for arm in plan.arms[1:])))
        assert ("is estimated by MACs" in "\n".join(print_in(monkeypatch, some, width=200))) == says


def check_arm(
    place: int, kills: int, *different: str, resumes: int | None = None, longer_by: tuple[str, ...] = ()
) -> ResumeCheck:
    went_on = kills if resumes is None else resumes
    cell = list_cells(make_study(), FOLDER)[place].with_threads(1)
    return ResumeCheck(cell, kills, kills // 2, went_on, {"record.json": "ab" * 32}, different, longer_by)


@pytest.mark.parametrize("different", [(), ("record.json",)])
def test_a_verdict_says_what_was_done_and_what_came_of_it(
    capsys: pytest.CaptureFixture[str], different: tuple[str, ...]
) -> None:
    resume_output.print_verdict([check_arm(0, 4, *different)])
    output = capsys.readouterr().out
    assert "convolution (resnet20), 1 thread, cpu" in output
    assert "killed 4 times, 2 of these while it saved, gone on from what was saved 4 times: " in output
    assert ("DIFFERENT: record.json" in output) == bool(different)
    assert ("Resume is exact on this machine, as far as was tried: convolution." in output) == (not different)
    assert ("Resume is NOT exact on this machine: convolution." in output) == bool(different)


def test_what_differs_without_having_been_resumed_is_not_blamed_on_resuming(capsys: pytest.CaptureFixture[str]) -> None:
    resume_output.print_verdict([check_arm(0, 3, "record.json", resumes=0)])
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "killed 3 times, but before it had saved anything, and two runs from the first batch on are DIFFERENT" in text
    )
    assert "Not the same twice on this machine" in text and "NOT exact" not in text


def test_a_verdict_claims_nothing_of_an_arm_that_was_not_killed(capsys: pytest.CaptureFixture[str]) -> None:
    def show(*checks: ResumeCheck) -> tuple[str, str]:
        resume_output.print_verdict(checks)
        output = capsys.readouterr().out
        return " ".join(output.split()), output.splitlines()[-1]

    missed, other = check_arm(0, 0, longer_by=("--epochs", "--limit-train")), list_cells(make_study(), FOLDER)[1].arm
    text, last = show(missed, check_arm(1, 4))
    assert (
        "convolution finished before it could be killed: nothing is proved of it. "
        "Longer runs (--epochs, --limit-train) give time to." in text
    )
    assert "killed 0 times" not in text
    assert last == f"Resume is exact on this machine, as far as was tried: {other}. Nothing is proved of convolution."
    assert show(missed)[1] == "Nothing is proved of resuming: no arm was killed."
    assert "Longer runs" not in show(check_arm(0, 0))[0] and "Try again" in show(check_arm(0, 0))[0]
    text, last = show(check_arm(0, 4, resumes=0), check_arm(1, 4, resumes=1))
    assert "convolution was killed 4 times, but before it had saved anything: nothing is proved of it." in text
    assert last.endswith("Nothing is proved of convolution.") and f"tried: {other}." in last
    text, last = show(check_arm(0, 0, "weights.safetensors"), check_arm(1, 1))
    assert "two undisturbed runs are DIFFERENT: weights.safetensors" in text
    assert last.startswith(
        "Not the same twice on this machine, even where nothing was resumed: convolution. Resume is exact"
    )
    proved = [one["proved"] for one in resume_output.list_verdicts([missed, check_arm(1, 4), check_arm(1, 4, "x")])]
    assert proved == [False, True, False]


def test_who_waits_while_the_machine_is_measured_is_told_so() -> None:
    steps: list[str] = []
    display = LiveDisplay(Console(file=io.StringIO()))
    StudyDisplay(display, lambda *_: COSTS, lambda: None, steps.append).on_measuring()
    assert steps == ["measuring how to share this machine out among cells"]
