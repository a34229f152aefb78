import sys
from pathlib import Path

import pytest
from stand_in_cells import FACTS, IN_PROCESS, LOCAL, make_study

from vtbench.configuration import DataConfig, Recipe
from vtbench.errors import UserError
from vtbench.studies import verification
from vtbench.studies.executor import Executor, Session
from vtbench.studies.executors.local import LocalProcesses
from vtbench.studies.placement import Placement, write_placement
from vtbench.studies.verification import ResumeCheck, verify_resume
from vtbench.training import StopRequest


@pytest.fixture(autouse=True)
def known_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins have no data, and save nothing that they could go on from: it is taken that they do."""
    monkeypatch.setattr(verification, "inspect_study", lambda study: FACTS)
    monkeypatch.setattr(verification, "has_checkpoint", lambda folder: True)


def verify(arms: list[str], *, kills: int = 3, executor: Executor = LOCAL) -> list[ResumeCheck]:
    study, session = make_study(dict.fromkeys(arms, "resnet20"), seeds=1), Session(executor, StopRequest(), threads=1)
    return verify_resume(study, Path("nowhere"), session, report=lambda text: None, kills=kills, seed=0)


def test_first_and_last_arm_are_killed_and_found_equal() -> None:
    checks = verify(["brisk", "brisk2", "brisk3"], kills=2)
    assert [check.cell.arm for check in checks] == ["brisk", "brisk3"]
    for check in checks:
        assert check.kills == check.resumes == 2 and check.is_proved
        assert check.different == ()
        assert set(check.digests) == {"weights.safetensors", "metrics.jsonl", "record.json"}


def test_an_arm_that_finished_before_it_could_be_killed_is_unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    def come_too_late(attempt: verification._Attempt, *ignored: object) -> tuple[bool, bool]:
        attempt.finish()
        return False, False

    monkeypatch.setattr(verification._Attempt, "kill_after", come_too_late)
    (check,) = verify(["good"])
    assert (check.kills, check.different, check.is_proved, check.longer_by) == (0, (), False, ())
    study = make_study({"good": "resnet20"}, seeds=1, recipe=Recipe(name="small", epochs=1))
    short = study.model_copy(update={"data": DataConfig(spec="scenes", limit_train=40)})
    for each, options in ((study, ("--epochs",)), (short, ("--epochs", "--limit-train"))):
        session = Session(LOCAL, StopRequest(), threads=1)
        (check,) = verify_resume(each, Path("nowhere"), session, report=lambda text: None, seed=0)
        assert check.longer_by == options


@pytest.mark.slow
def test_an_arm_that_had_saved_nothing_when_it_was_killed_is_unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "has_checkpoint", lambda folder: False)
    (check,) = verify(["brisk"], kills=2)
    assert (check.kills, check.resumes, check.different, check.is_proved) == (2, 0, (), False)


@pytest.mark.slow
def test_the_third_kill_waits_until_something_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []

    def look(folder: Path) -> bool:
        looks.append(len(looks) >= 8)
        return looks[-1]

    monkeypatch.setattr(verification, "has_checkpoint", look)
    (check,) = verify(["brisk"], kills=3)
    assert looks[:9] == [False] * 8 + [True] and (check.kills, check.resumes) == (3, 1)


def test_a_runner_that_does_not_resume_exactly_is_found_out(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from stand_in_cells import main, run_cell\n"
        "def forgetful(cell, listener, stop):\n"
        "    begun = (cell.folder / 'begun').exists(); (cell.folder / 'begun').touch()\n"
        "    record = run_cell(cell, listener, stop)\n"
        "    (cell.folder / 'weights.safetensors').write_bytes(b'resumed' if begun else b'whole')\n"
        "    return record\n"
        "main(forgetful)\n"
    )
    assert verify(["brisk"], kills=4, executor=LocalProcesses((sys.executable, str(script))))[0].different == (
        "weights.safetensors",
    )


def test_a_cell_that_fails_by_itself_is_no_verdict() -> None:
    with pytest.raises(UserError, match="could not be checked: diverges fails by itself: The training loss became NaN"):
        verify(["diverges"])
    with pytest.raises(UserError, match="out of luck"):
        verify(["dies"])


def test_an_executor_that_cannot_kill_is_refused() -> None:
    with pytest.raises(UserError, match="whose cells cannot be killed"):
        verify(["brisk"], executor=IN_PROCESS)


def test_cells_are_checked_with_the_threads_that_the_study_was_begun_with(tmp_path: Path) -> None:
    write_placement(tmp_path, Placement(jobs=1, threads=3, reason="as asked for"))
    study, session = make_study({"good": "resnet20"}, seeds=1), Session(LOCAL, StopRequest())
    checks = verify_resume(study, tmp_path, session, report=lambda text: None, kills=0, seed=0)
    assert checks[0].cell.config.execution.threads == 3
