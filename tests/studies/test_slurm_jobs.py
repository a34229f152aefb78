"""The Slurm executor: its mailbox, what it asks for, and cells as the jobs of a pretended Slurm."""

import pickle
import sys
import time
from pathlib import Path

import pytest
from stand_in_cells import COMMAND, FACTS, CellNotes, make_study
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.studies import mailbox
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.events import CellEpoch
from vtbench.studies.executor import Session, open_executor
from vtbench.studies.executors import slurm
from vtbench.studies.executors.slurm import SlurmJobs, SlurmKnobs
from vtbench.studies.mailbox import CellSide, StudySide
from vtbench.studies.placement import choose_placement
from vtbench.training import StopRequest


def make_cells(folder: Path, *arms: str) -> list[Cell]:
    study = make_study(dict.fromkeys(arms, "resnet20"), seeds=1)
    return [cell.with_threads(2) for cell in list_cells(study, folder)]


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scripts of jobs come to lie."""
    commands, scripts = tmp_path / "bin", tmp_path / "scripts"
    commands.mkdir()
    scripts.mkdir()
    source = Path(__file__).with_name("pretend_slurm.py").read_text()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        (commands / name).write_text(f"#!{sys.executable}\n{source}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    monkeypatch.setenv("PRETEND_SLURM", str(scripts))
    monkeypatch.setattr(slurm, "_ASK_SLURM_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    return scripts


def test_cells_are_an_array_of_jobs_that_ask_for_what_the_knobs_say_and_each_ends_once(
    pretended: Path, tmp_path: Path
) -> None:
    knobs = SlurmKnobs(partition="long", account="us", cpus=2, mem_gb=1.5, minutes=30)
    cells, notes = make_cells(tmp_path / "study", "good", "better", "dies"), CellNotes()
    results = list(SlurmJobs(knobs, COMMAND).run(cells, 2, watcher=notes, stop=StopRequest()))
    assert {result.cell.arm: result.status for result in results} == {
        "good": "finished", "better": "finished", "dies": "failed",
    }  # fmt: skip
    assert sorted(notes.begun) == ["better", "dies", "good"]
    assert sum(arm == "good" and isinstance(event, CellEpoch) for arm, event in notes.events) == 4
    assert "killed by SIGKILL" in next(result.error for result in results if result.error)
    (script,) = pretended.glob("*.sh")
    asked = [
        "array=0-2%2",
        "partition=long",
        "account=us",
        "cpus-per-task=2",
        "mem=1536MB",
        "time=30",
        "signal=USR2@90",
    ]
    assert all(f"#SBATCH --{flag}\n" in script.read_text() for flag in asked)
    assert "gpus-per-node" not in script.read_text()
    assert not list(tmp_path.glob(".vtbench-*"))


def test_a_job_that_ends_without_a_word_is_queued_again_and_a_stop_lets_cells_save(
    pretended: Path, tmp_path: Path
) -> None:
    (pretended / "lose").touch()
    stop = StopRequest()

    class Stopper(CellNotes):
        def on_event(self, cell: Cell, event: object) -> None:
            stop.request()

    cells = make_cells(tmp_path / "study", "slow")
    (result,) = SlurmJobs(command=COMMAND).run(cells, 1, watcher=Stopper(), stop=stop)
    assert result.status == "stopped"
    assert (cells[0].folder / "checkpoint").exists()
    assert len(list(pretended.glob("*.sh"))) == 2


def test_a_cell_whose_jobs_never_say_a_word_fails_with_what_is_known(
    pretended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "MOST_LOSSES", 0)
    (pretended / "lose").touch()
    (result,) = SlurmJobs(command=COMMAND).run(
        make_cells(tmp_path / "study", "good"), 1, watcher=CellNotes(), stop=StopRequest()
    )
    assert result.status == "failed"
    assert "ended 1 time without a word" in (result.error or "")


def test_each_cell_gets_the_cpus_that_a_job_asks_for_and_none_is_measured(pretended: Path, tmp_path: Path) -> None:
    cells, session = make_cells(tmp_path, "a", "b", "c"), Session(open_executor("slurm:cpus=4"), StopRequest())
    placement = choose_placement(cells, session, before=None, facts=FACTS)
    assert (placement.jobs, placement.threads) == (3, 4)
    assert (
        choose_placement(cells, Session(session.executor, StopRequest(), jobs=2), before=placement, facts=FACTS).jobs
        == 2
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slurm:minutes=0", "'minutes' was given '0'"),
        ("slurm:notice=90,minutes=1", "leave nothing of a job of minutes=1"),
        ("slurm:partitoin=a", "Did you mean 'partition'"),
    ],
)
def test_what_slurm_cannot_be_asked_is_one_message(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_executor(text)


def test_the_device_must_be_said_because_it_cannot_be_seen(pretended: Path) -> None:
    executor = open_executor("slurm")
    assert (executor.settle_device("cuda"), executor.settle_device("cpu")) == ("cuda", "cpu")
    with pytest.raises(UserError, match="Say --device cuda, or cpu"):
        executor.settle_device("auto")


def test_without_slurm_a_study_is_refused_in_one_message_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["ablate", "components", "--executor", "slurm", "--device", "cpu", "--data", "scenes"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, UserError)
    assert "login node" in str(refused.exception)
    assert "slurm:cluster=local" in str(refused.exception)
    assert list(tmp_path.iterdir()) == []
    assert open_executor("slurm:cluster=local").runs_here


def test_jobs_that_slurm_does_not_take_are_told_in_one_message(pretended: Path, tmp_path: Path) -> None:
    executor = SlurmJobs(command=COMMAND)
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'Invalid account' >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"Slurm did not take the jobs: .*Invalid account"):
        list(executor.run(make_cells(tmp_path / "study", "good"), 1, watcher=CellNotes(), stop=StopRequest()))


def test_the_mailbox_carries_whole_lines_and_the_wish_to_stop_and_a_silent_study_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, cell = StudySide(tmp_path), pickle.loads(pickle.dumps(CellSide(tmp_path, "1")))
    study.beat()
    assert study.fetch("1") is None
    assert cell.tell([]) is False
    assert study.fetch("1") == []
    cell.tell([b"a\n", b"b\n", b"torn"])
    assert study.fetch("1") == [b"a", b"b"]
    cell.tell([b" off\n"])
    assert study.fetch("1") == [b"torn off"]
    assert study.find_result("1") is None
    cell.conclude("failed", "why")
    assert study.find_result("1") == ("failed", "why")
    monkeypatch.setattr(mailbox, "DEAD_AFTER_SECONDS", 0.05)
    time.sleep(0.1)
    with pytest.raises(ConnectionError, match="no sign of life"):
        cell.tell([])
    study.stop()
    assert cell.tell([]) is True


@pytest.mark.parametrize(("text", "runs_here"), [("local", True), ("slurm", False), ("slurm:cluster=local", True)])
def test_cells_have_the_devices_of_this_machine_only_where_they_run_on_it(
    pretended: Path, text: str, runs_here: bool
) -> None:
    assert open_executor(text).runs_here == runs_here


def test_more_gpus_than_this_machine_has_can_be_asked_of_slurm_and_not_more_than_images_of_a_batch(
    pretended: Path, tmp_path: Path
) -> None:
    words = ["ablate", "components", "--arm", "static", "--seeds", "1", "--data", "scenes:num_train=50,num_val=20"]
    words += ["--plan", "--no-probe", "--executor", "slurm", "--device", "cuda", "--out", str(tmp_path / "out")]
    planned = CliRunner().invoke(app, [*words, "--devices", "64"])
    assert planned.exit_code == 0, planned.output
    refused = CliRunner().invoke(app, [*words, "--devices", "999"])
    assert isinstance(refused.exception, UserError)
    assert "some would have nothing to do" in str(refused.exception)
