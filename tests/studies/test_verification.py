import sys
from pathlib import Path

import pytest
import stand_in_cells
from stand_in_cells import FACTS, make_study

from vtbench.errors import UserError
from vtbench.studies.verification import ResumeCheck, verify_resume


def verify(arms: list[str], *, kills: int = 3, script: str = stand_in_cells.__file__) -> list[ResumeCheck]:
    study = make_study(dict.fromkeys(arms, "resnet20"), seeds=1)
    command = (sys.executable, script)
    return verify_resume(
        study, FACTS, environment={}, threads=1, kills=kills, seed=0, say=lambda text: None, command=command
    )


def test_first_and_last_arm_are_killed_and_found_equal() -> None:
    checks = verify(["brisk", "brisk2", "brisk3"], kills=2)
    assert [check.arm for check in checks] == ["brisk", "brisk3"]
    for check in checks:
        assert check.kills == 2
        assert check.different == ()
        assert set(check.digests) == {"weights.safetensors", "metrics.jsonl", "record.json"}


def test_a_runner_that_does_not_resume_exactly_is_found_out(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from stand_in_cells import run_cell, serve\n"
        "def forgetful(cell, listener, stop):\n"
        "    begun = (cell.folder / 'begun').exists(); (cell.folder / 'begun').touch()\n"
        "    record = run_cell(cell, listener, stop)\n"
        "    (cell.folder / 'weights.safetensors').write_bytes(b'resumed' if begun else b'whole')\n"
        "    return record\n"
        "serve(forgetful)\n"
    )
    assert verify(["brisk"], kills=1, script=str(script))[0].different == ("weights.safetensors",)


def test_a_cell_that_fails_by_itself_is_no_verdict() -> None:
    with pytest.raises(UserError, match="could not be checked: diverges fails by itself: The training loss became NaN"):
        verify(["diverges"])
    with pytest.raises(UserError, match="out of luck"):
        verify(["dies"])
