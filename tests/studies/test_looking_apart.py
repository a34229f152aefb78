"""What another process finds out of a study is what this one would, and keeps torch out of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vtbench.configuration import ExecutionConfig
from vtbench.errors import UserError
from vtbench.run_options import StudyOptions
from vtbench.studies import inspection, resolution
from vtbench.studies.inspection import Answers, Inspector, Question, look, look_apart
from vtbench.studies.ledger import Ledger
from vtbench.studies.study import Study

DATA = "scenes:num_train=20,num_val=10"


ARMS = {"a": "resnet20:width=2", "b": "resnet20:width=4"}
PRINTING = """
import os
from torch import nn

os.write(1, b"loading")


def build(num_classes):
    print("building")
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))
"""


def ask(
    folder: Path,
    data: str = DATA,
    *,
    arms: dict[str, str] = ARMS,
    options: StudyOptions | None = None,
    fresh: bool = False,
) -> Question:
    study = Study.model_validate({"question": "Is it?", "arms": arms, "data": data, "seeds": 2})
    on_cpu = ExecutionConfig(device="cpu")
    return Question("mini", study, options or StudyOptions(), on_cpu, None, folder, retry_failed=False, fresh=fresh)


def test_another_process_finds_what_this_one_does(tmp_path: Path) -> None:
    answers = look_apart(ask(tmp_path))
    assert answers == look(ask(tmp_path))
    here = Inspector()
    facts = answers.inspect(answers.study)
    assert facts == here.inspect(answers.study)
    for arm, variant in answers.study.arms.items():
        assert answers.count(variant, facts.of(arm).image_size, 10) == here.count(variant, (32, 32), 10)


def test_answers_hold_for_fewer_arms_and_other_seeds_and_for_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = look(ask(tmp_path))
    looked_here: list[object] = []
    monkeypatch.setattr(resolution, "inspect_study", looked_here.append)
    fewer = {"arms": {"b": answers.study.arms["b"]}, "reference": answers.study.reference}
    assert answers.inspect(answers.study.model_copy(update={"seeds": 7})) is answers.facts
    assert answers.inspect(answers.study.model_copy(update=fewer)) is answers.facts
    assert looked_here == []
    other = {"data": answers.study.data.model_copy(update={"limit_train": 10})}
    answers.inspect(answers.study.model_copy(update=other))
    answers.inspect(answers.study.model_copy(update={"arms": {**answers.study.arms, "c": "resnet32"}}))
    assert len(looked_here) == 2
    assert answers.count("resnet20", (32, 32), 10).macs > 0  # That one was not asked for.


def test_what_is_wrong_with_the_data_is_said_when_they_are_needed(tmp_path: Path) -> None:
    answers = look_apart(ask(tmp_path, f"{DATA},clutter=1", options=StudyOptions(limit_train=5)))
    assert isinstance(answers.facts, UserError)
    with pytest.raises(UserError, match="--limit-train asks for 5 images"):
        answers.inspect(answers.study)


def test_a_study_that_cannot_be_resolved_is_refused_as_it_is_here(tmp_path: Path) -> None:
    for examine in (look, look_apart):
        with pytest.raises(UserError, match="no arm of the study has it"):
            examine(ask(tmp_path, options=StudyOptions(base="resnet20")))


def test_where_no_cell_is_to_be_run_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "needs_data", lambda *_, **__: False)
    assert look(ask(tmp_path)).facts is None
    assert look(ask(tmp_path, fresh=True)).facts is not None


def test_this_process_looks_where_the_other_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.sys, "executable", "/bin/false")
    assert isinstance(look_apart(ask(tmp_path)), Answers)


def test_what_a_network_prints_is_no_part_of_the_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(PRINTING, encoding="utf-8")
    answers = look_apart(ask(tmp_path, arms={**ARMS, "own": f"{tmp_path / 'net.py'}:build"}))
    said = capfd.readouterr()
    assert said.out == "" and "building" in said.err
    assert answers.study.arms["own"] == "net.py:build"
    assert answers.count(answers.study.spell("own"), (32, 32), 10).macs == 3 * 32 * 32 * 10


def test_ctrl_c_reaches_the_process_that_asked_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def communicate(self, *arguments: Any, **options: Any) -> Any:
            begun.append(self)
            assert os.getsid(self.pid) != os.getsid(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        look_apart(ask(tmp_path))
    assert begun[0].returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_process_that_waits_for_cells_never_loads_torch(tmp_path: Path) -> None:
    study = tmp_path / "mini.toml"
    study.write_text(
        f'question = "Is it?"\ndata = "{DATA}"\nrecipe = "small"\n'
        '[arms]\na = "resnet20:width=2"\nb = "resnet20:width=4"\n'
    )
    words = ["ablate", str(study), "--epochs", "1", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    program = (
        f"import sys, atexit\nsys.argv = {['vtbench', *words]!r}\n"
        "atexit.register(lambda: print('torch is loaded:', 'torch' in sys.modules))\n"
        "from vtbench.cli.main import run\nrun()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch is loaded: False" in done.stdout
    assert len(list((tmp_path / "out").glob("cells/*/*/record.json"))) == 2
