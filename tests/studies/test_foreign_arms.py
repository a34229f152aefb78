"""Arms of timm and of a user's file beside ours: refused before anything is written, known by content, reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.records import NotMeasured, RunRecord, load_record
from vtbench.reporting.comparisons import build_comparisons
from vtbench.reporting.notes import list_notes
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import load_runs

STUDY = """
question = "Whose network?"
recipe = "small"
epochs = 1
seeds = 1
{more}
[data]
spec = "scenes"
limit_train = 20
limit_val = 10

[arms]
ours = "resnet20:width=2"
mine = "{file}:{name}"
"""
NETS = """
import torch
from torch import nn


def net(num_classes):
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, num_classes))


def odd(num_classes):
    return nn.Sequential(net(num_classes), Odd())


def fixed():
    return net(7)


class Odd(nn.Module):
    def forward(self, scores):
        return scores + torch.special.bessel_j0(scores.detach())
"""


def write_study(folder: Path, name: str = "net", more: str = "") -> Path:
    file = folder / "code" / "nets.py"
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        file.write_text(NETS, encoding="utf-8")
    study = folder / "study.toml"
    study.write_text(STUDY.format(file=file, name=name, more=more), encoding="utf-8")
    return study


def ablate(study: Path, *flags: str) -> tuple[int, str]:
    out = study.parent / "out"
    words = ["ablate", str(study), "--executor", "in_process", "--jobs", "1", "--threads", "1", "--device", "cpu"]
    answer = CliRunner().invoke(app, [*words, "--out", str(out), *flags])
    if isinstance(answer.exception, UserError):
        return 2, str(answer.exception)
    return answer.exit_code, answer.output


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds, and none is looked at."""
    monkeypatch.setattr("vtbench.cli.verb_report.report_runs", lambda *_: None)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path)


def test_a_study_with_a_users_file_runs_to_a_report_and_goes_on_after_the_file_was_moved(study: Path) -> None:
    code, text = ablate(study)
    assert code == 0, text
    record = load_record(study.parent / "out/cells/mine/seed-0/record.json", RunRecord)
    assert record.variant == "nets.py:net"
    shutil.move(study.parent / "code", study.parent / "elsewhere")
    study.write_text(study.read_text("utf-8").replace("/code/", "/elsewhere/"), encoding="utf-8")
    code, text = ablate(study, "--seeds", "2")
    assert code == 0, text
    loaded = load_runs(study.parent / "out")
    comparison, *apart = build_comparisons(loaded.records, loaded.outline)
    assert not apart
    assert [(arm.name, arm.mean.n) for arm in comparison.arms if not isinstance(arm.mean, NotMeasured)] == [
        ("ours", 2),
        ("mine", 2),
    ]


def test_a_file_that_was_changed_in_between_is_refused_with_a_message(study: Path) -> None:
    assert ablate(study)[0] == 0
    file = study.parent / "code" / "nets.py"
    file.write_text(NETS + "# changed\n", encoding="utf-8")
    code, text = ablate(study, "--seeds", "2")
    assert code == 2
    assert "The arm 'mine': The code of" in text
    assert "is another than this was begun with" in text
    assert not (study.parent / "out/cells/mine/seed-1").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fixed", "and (2, 10) is needed. Let it take num_classes, which is told 10"),
        ("odd", "With --uncounted (uncounted = true in a study) it is trained all the same"),
        ("nte", "Did you mean 'net'"),
        ("net,width=3", "takes no 'width'"),
    ],
)
def test_an_arm_that_cannot_be_had_is_refused_before_anything_is_written(
    name: str, message: str, tmp_path: Path
) -> None:
    code, text = ablate(write_study(tmp_path, name))
    assert code == 2
    assert message in text
    assert "The arm 'mine'" in text
    assert not (tmp_path / "out").exists()


def test_a_study_says_itself_that_what_cannot_be_counted_is_trained(tmp_path: Path) -> None:
    study = write_study(tmp_path, "odd", more="uncounted = true")
    code, text = ablate(study)
    assert code == 0, text
    record = load_record(tmp_path / "out/cells/mine/seed-0/record.json", RunRecord)
    assert isinstance(record.costs, NotMeasured)
    note = next(note for note in list_notes(build_report(tmp_path / "out").comparisons) if "no costs" in note)
    assert note.startswith("mine: no costs, ")
    assert "bessel_j0" in note


def test_runs_of_one_variant_whose_code_differs_are_kept_apart(study: Path) -> None:
    assert ablate(study)[0] == 0
    first = load_record(study.parent / "out/cells/mine/seed-0/record.json", RunRecord)
    assert first.certificate is not None
    other = first.model_copy(
        update={"seed": 1, "certificate": first.certificate.model_copy(update={"network": "0" * 64})}
    )
    loaded = load_runs(study.parent / "out")
    comparisons = build_comparisons([*loaded.records, other], loaded.outline)
    assert len(comparisons) == 2
    assert "network" in comparisons[1].apart
