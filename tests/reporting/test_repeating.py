"""Every command that a report prints is one that the command line takes, and asks for the same runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_run

from vtbench.cli.main import run
from vtbench.configuration import DataConfig, RunConfig
from vtbench.datasets import DATASETS, list_datasets
from vtbench.records import RunRecord, save_record
from vtbench.reporting.archive import archive_runs, list_archives
from vtbench.reporting.repeating import list_needs
from vtbench.reporting.report import Report, build_report
from vtbench.reporting.web.arms import list_arm_details
from vtbench.run_folder import RECORD
from vtbench.settings import undo_treatment
from vtbench.studies.cells import ResolvedStudy, list_cells
from vtbench.studies.ledger import Ledger
from vtbench.studies.running import StudyOutcome
from vtbench.written import list_differences

REPORTS = Path(__file__).resolve().parents[2] / "reports"
STUDY = """
question = "Does width pay?"
base = "vt_resnet20"
seeds = 2
recipe = "recipes/mine.toml"
data = { spec = "scenes", held_out = 0.2 }
[arms]
narrow = "{twin}:width=2"
wide = { variant = "resnet20:width=4", recipe.optimizer.learning_rate = 0.05, recipe.epochs = 4 }
own = "nets.py:build"
"""
NET = "from torch import nn\ndef build(num_classes): return nn.Linear(1, num_classes)\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What commands ask for, instead of doing it: a study with its folder, or the configuration of a run."""
    seen: list[Any] = []

    def carry_out(study: ResolvedStudy, folder: Path, *_: Any, **__: Any) -> StudyOutcome:
        seen.append(study)
        Ledger(folder).adopt(study)
        for cell in list_cells(study, folder):
            save_record(cell.folder / RECORD, make_record(cell.config, cell.arm, study.name))
        return StudyOutcome(folder, 0)

    def train(config: RunConfig, *_: Any, **__: Any) -> RunRecord:
        seen.append(config)
        return make_record(config, None, None)

    monkeypatch.setattr("vtbench.studies.deciding.carry_out_study", carry_out)
    monkeypatch.setattr("vtbench.training.train_run", train)
    monkeypatch.setattr("vtbench.cli.verb_report.report_runs", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    for name, text in ("studies/mine.toml", STUDY), ("recipes/mine.toml", "epochs = 2"), ("nets.py", NET):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    return seen


def make_record(config: RunConfig, arm: str | None, study: str | None) -> RunRecord:
    run = make_run(arm, config.seed, variant=config.variant, study=study)
    return run.model_copy(update={"config": config})


def call(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = shlex.split(command)
    assert words[0] == "vtbench"
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        run()
        raise SystemExit(0)
    assert not ended.value.code, command


def read_facts(report: Report) -> dict[str, str]:
    return dict(report.provenance)


def test_the_command_of_a_users_study_asks_for_it_again_from_its_folder_and_from_its_archive(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = "--arm narrow --arm wide --set recipe.dropout=0.1 --device cpu"
    call(monkeypatch, f"vtbench ablate studies/mine.toml {flags}")
    first = asked.pop()
    archive_runs([Path("runs/mine")], Path("archive"))
    for folder in "runs/mine", "archive":
        facts = read_facts(build_report(Path(folder)))
        assert facts["command"].endswith(" --device cpu --jobs 2 --threads 2")
        assert facts["command"].startswith(
            "vtbench ablate studies/mine.toml --base vt_resnet20 --arm narrow --arm wide "
        )
        assert facts["the command needs"].startswith("studies/mine.toml, recipes/mine.toml; paths are as")
        call(monkeypatch, f"{facts['command']} --device cpu")
        assert asked.pop() == first
    call(monkeypatch, "vtbench ablate studies/mine.toml --arm own --device cpu --set recipe.dropout=0.1")
    facts = read_facts(build_report(Path("runs/mine")))
    assert "--arm" not in facts["command"]
    assert "nets.py (SHA-256 " in facts["the command needs"]


def test_a_study_of_its_own_length_of_which_an_arm_has_another_is_asked_for_again_at_that_length(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = 'short = "{base}"\nlong = { variant = "{base}", recipe.epochs = 6 }'
    head = 'question = "How long?"\nbase = "resnet20:width=4"\nreference = "short"\nrecipe = "small"\nepochs = 3'
    Path("lengths.toml").write_text(f"{head}\n[arms]\n{arms}\n")
    call(monkeypatch, "vtbench ablate lengths.toml --device cpu")
    first = asked.pop()
    command = read_facts(build_report(Path("runs/lengths")))["command"]
    assert "--epochs" not in command and "--recipe small" in command
    call(monkeypatch, command)
    assert asked.pop() == first and first.recipe.epochs == 3


@pytest.mark.parametrize(
    ("name", "own", "of_arm"),
    [("limit_train", 200, 400), ("limit_val", 100, 200), ("image_size", 16, 24), ("held_out", 0.3, 0.2)],
)
def test_a_study_with_a_setting_of_the_data_of_which_an_arm_has_another_is_asked_for_again_with_its_own(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, name: str, own: float, of_arm: float
) -> None:
    head = f'question = "q"\nrecipe = "small"\ndata = {{ spec = "scenes", {name} = {own}, held_out_seed = 3 }}'
    arms = f'a = "resnet20:width=4"\nb = {{ variant = "resnet20:width=4", data.{name} = {of_arm} }}'
    Path("mine.toml").write_text(f"{head}\n[arms]\n{arms}\n")
    call(monkeypatch, "vtbench ablate mine.toml --device cpu")
    first = asked.pop()
    call(monkeypatch, read_facts(build_report(Path("runs/mine")))["command"])
    assert asked.pop() == first and getattr(first.data, name) == own
    for number, other in enumerate(("--data scenes:clutter=2", "--set data.spec=scenes:clutter=2")):
        call(monkeypatch, f"vtbench ablate mine.toml --device cpu {other} --out other{number}")
        kept: dict[str, Any] = {name: own}  # No flag may give what an arm has of its own; the others are dropped.
        elsewhere = asked.pop()
        assert elsewhere.data == DataConfig(spec="scenes:clutter=2", **kept)
        call(monkeypatch, read_facts(build_report(Path(f"other{number}")))["command"])
        assert asked.pop() == elsewhere
    Path("alike.toml").write_text(f"{head}\n[arms]\na = 'resnet20:width=4'\n")
    call(monkeypatch, f"vtbench ablate alike.toml --device cpu --set data.{name}=none")
    first = asked.pop()
    command = read_facts(build_report(Path("runs/alike")))["command"]
    call(monkeypatch, f"{command} --out again")
    assert asked.pop() == first and getattr(first.data, name) is None


def test_a_study_of_which_the_call_let_frozen_parameters_train_is_asked_for_again_so(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = 'question = "q"\nrecipe = "small"\nfreeze = ["stem.*"]'
    arms = 'a = "resnet20:width=4"\nb = { variant = "resnet20:width=4", recipe.dropout = 0.2 }'
    Path("mine.toml").write_text(f"{head}\n[arms]\n{arms}\n")
    for number, asks in enumerate(("", "--set 'recipe.freeze=[]'", "--freeze 'layer1.*'")):
        call(monkeypatch, f"vtbench ablate mine.toml --device cpu --out out{number} {asks}")
        first = asked.pop()
        call(monkeypatch, read_facts(build_report(Path(f"out{number}")))["command"])
        assert asked.pop() == first
        assert first.recipe.freeze == (("stem.*",), (), ("layer1.*",))[number]


def test_the_command_of_an_arm_asks_for_its_run_with_what_the_study_gave_it(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, "vtbench ablate studies/mine.toml --device cpu")
    report = build_report(Path("runs/mine"))
    cells = {cell.arm: cell.config for cell in list_cells(asked.pop(), Path()) if cell.config.seed == 0}
    for comparison in report.comparisons:
        for arm in list_arm_details(report, comparison):
            assert arm.command is not None
            call(monkeypatch, f"{arm.command} --device cpu")
            config = asked.pop()
            wanted = cells[arm.name]
            assert config.spelling == wanted.spelling
            differences = list_differences(config, wanted, exclude={"variant", "code", "declared"})
            assert differences == [("execution.threads", 1, None)]  # Those that the run had.


def test_data_that_lie_in_files_of_the_user_are_among_what_a_command_needs() -> None:
    needed = {name: list_needs("", [make_run(spec=name.replace("PATH", "data/mine"))]) for name in list_datasets()}
    of_files = {name for name in needed if name.endswith(":PATH")}
    assert of_files >= {"folder:PATH", "parquet:PATH", "webdataset:PATH"}
    assert len(of_files) < len(DATASETS)
    for name, told in needed.items():
        assert told.startswith(name.replace("PATH", "data/mine; paths are as")) is (name in of_files), name
        assert bool(told) is (name in of_files), name
    assert list_needs("", [make_run(spec="of_a_package_that_is_gone:x=1")]).startswith("of_a_package_that_is_gone:x=1;")


def test_a_recipe_that_lies_in_two_files_is_needed_in_both() -> None:
    runs = [make_run(seed=seed) for seed in (0, 1)]
    placed = [
        run.model_copy(
            update={
                "config": run.config.model_copy(
                    update={"recipe": run.config.recipe.model_copy(update={"file": f"{run.seed}.toml"})}
                )
            }
        )
        for run in runs
    ]
    assert list_needs("", placed).startswith("0.toml, 1.toml;")


def test_a_part_of_a_study_and_two_of_its_folders_are_repeated_by_its_own_command(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, "vtbench ablate studies/mine.toml --arm narrow --arm wide --device cpu")
    part = read_facts(build_report(Path("runs/mine/cells/wide")))["command"]
    assert part.startswith("vtbench ablate studies/mine.toml --base vt_resnet20 --arm wide --data scenes ")
    call(monkeypatch, "vtbench ablate studies/mine.toml --arm wide --arm narrow --out runs/again --device cpu")
    both = read_facts(build_report(Path("runs/mine"), Path("runs/again")))["command"]
    assert both == read_facts(build_report(Path("runs/mine")))["command"]
    again = read_facts(build_report(Path("runs/again")))["command"]
    assert again.startswith("vtbench ablate studies/mine.toml --base vt_resnet20 --arm narrow --arm wide ")
    assert again.endswith(" --seeds 2 --device cpu --jobs 2 --threads 2 --out runs/again")


def test_every_command_in_a_committed_report_asks_for_its_arms_seeds_and_recipe(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtbench.cli.first_checks.check_data", lambda *_, **__: None)
    for folder in list_archives(REPORTS):
        report = build_report(folder)
        call(monkeypatch, f"{read_facts(report)['command']} --device cpu --out {folder.name}")
        study, record = asked.pop(), report.comparisons[0].records[0]
        assert tuple(study.arms) == report.outline.arms, folder
        assert study.seeds == len(report.outline.seeds)
        assert study.data == undo_treatment(record.config).data
        assert study.recipe.epochs == record.config.recipe.epochs
