"""The arms of a study start from weights: all from the same, or each from its own, which are then what is compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import vtbench.models  # noqa: F401
from vtbench.configuration import DataConfig, ExecutionConfig, InitConfig
from vtbench.errors import UserError
from vtbench.reporting.report import build_report
from vtbench.run_options import StudyOptions
from vtbench.studies.cells import ResolvedStudy, list_cells
from vtbench.studies.executor import Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.ledger import Ledger
from vtbench.studies.resolution import inspect_study, resolve_study
from vtbench.studies.running import StudyOutcome, run_study
from vtbench.studies.study import Study, read_study
from vtbench.studies.worker import run_cell
from vtbench.training import StopRequest
from vtbench.training.network import initialize_by_name
from vtbench.training.starting_weights import open_source
from vtbench.variants import create_model

SMALL = "resnet20:width=4"


def save_weights(path: Path, *, seed: int, variant: str = SMALL) -> str:
    model = create_model(variant, num_classes=10, image_size=16)
    initialize_by_name(model, seed)
    torch.save(model.state_dict(), path)
    return str(path)


def resolve(arms: dict[str, Any], options: dict[str, Any] | None = None, **study: Any) -> ResolvedStudy:
    values = {"question": "q", "recipe": "small", "epochs": 1, "seeds": 1, "arms": arms} | study
    data = DataConfig(spec="scenes", image_size=16, limit_train=20, limit_val=10)
    read = Study.model_validate(values | {"data": data})
    execution = ExecutionConfig(device="cpu", threads=1)
    return resolve_study("mine", read, StudyOptions.model_validate(options or {}), execution)


class Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def run(study: ResolvedStudy, folder: Path) -> StudyOutcome:
    session = Session(InProcess(run_cell), StopRequest(), jobs=1, threads=1)
    return run_study(study, folder, session, watcher=Silent())


def test_an_arms_own_weights_win_over_those_of_the_command_line_and_these_over_the_studys(tmp_path: Path) -> None:
    first, second, third = (save_weights(tmp_path / f"{seed}.pt", seed=seed) for seed in range(3))
    arms = {"plain": SMALL, "own": {"variant": SMALL, "init": third}}
    hashes = {place: open_source(place).sha256 for place in (first, second, third)}
    for options, shared in (({}, first), ({"init": second}, second)):
        study = resolve(arms, options, init=first)
        assert study.inits == {
            "plain": InitConfig(source=shared, sha256=hashes[shared]),
            "own": InitConfig(source=third, sha256=hashes[third], of_arm=True),
        }
        assert [cell.config.init for cell in list_cells(study, tmp_path)] == list(study.inits.values())
    assert resolve({"plain": SMALL}).inits == {} and "inits" not in resolve({"plain": SMALL}).model_dump()


def test_a_study_file_says_what_arms_start_from_and_what_is_frozen(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'question = "q"\ninit = "a.pt"\nfreeze = ["layer1.*"]\n[arms]\nplain = "resnet20"\n'
        'own = { variant = "resnet20", init = "b.pt" }\n'
    )
    study = read_study(path)
    assert (study.init, study.freeze, study.list_inits()) == ("a.pt", ("layer1.*",), {"own": "b.pt"})
    assert study.list_arms() == {"plain": "resnet20", "own": "resnet20"}
    for arm, message in {
        '{ variant = "resnet20", inti = "b.pt" }': r"mine\.toml: unknown key 'arms\.plain\.inti'\. Did you mean 'init'",
        '{ init = "b.pt" }': r"the key 'arms\.plain\.variant' is missing",
        "3": "an arm is a variant, or a table of variant, init and settings; it was given 3",
    }.items():
        path.write_text(f'question = "q"\n[arms]\nplain = {arm}\n')
        with pytest.raises(UserError, match=message):
            read_study(path)


def test_one_variant_may_start_from_two_weights_but_not_twice_from_the_same(tmp_path: Path) -> None:
    first, second = (save_weights(tmp_path / f"{seed}.pt", seed=seed) for seed in range(2))
    shutil.copy(first, tmp_path / "copy.pt")
    two = {name: {"variant": SMALL, "init": place} for name, place in (("a", first), ("b", second))}
    assert set(resolve(two).arms.values()) == {SMALL}
    with pytest.raises(UserError, match="'a' and 'c' are the same variant"):
        resolve(two | {"c": {"variant": SMALL, "init": str(tmp_path / "copy.pt")}})


def test_arms_with_starts_of_their_own_are_compared_and_a_study_goes_on_by_content(tmp_path: Path) -> None:
    place, folder = save_weights(tmp_path / "start.pt", seed=7), tmp_path / "study"
    arms = {"scratch": SMALL, "started": {"variant": SMALL, "init": place}}
    assert run(resolve(arms), folder).finished == 2
    moved = shutil.move(place, tmp_path / "moved.pt")
    again = {"scratch": SMALL, "started": {"variant": SMALL, "init": str(moved)}}
    assert run(resolve(again, seeds=2), folder).finished == 4
    report = build_report(folder)
    assert [arm.name for arm in report.comparisons[0].arms] == ["scratch", "started"] and len(report.comparisons) == 1
    assert "--init" not in str(dict(report.provenance).get("command"))
    other = save_weights(tmp_path / "other.pt", seed=8)
    with pytest.raises(UserError, match=r"another study: inits\.started\.sha256 is .* there and .* now"):
        run(resolve({"scratch": SMALL, "started": {"variant": SMALL, "init": other}}), folder)
    Ledger(folder).check(resolve({"scratch": SMALL}))


def test_a_study_that_all_arms_start_alike_prints_the_command_and_is_not_compared_with_one_from_scratch(
    tmp_path: Path,
) -> None:
    place = save_weights(tmp_path / "start.pt", seed=7)
    run(resolve({"a": SMALL}, {"init": place, "freeze": ["trunk.*"]}), tmp_path / "both" / "started")
    run(resolve({"a": SMALL}), tmp_path / "both" / "scratch")
    report = build_report(tmp_path / "both" / "started")
    facts = dict(report.provenance)
    assert f"--init {place} --freeze 'trunk.*'" in facts["command"]
    assert f"not trained: trunk.*; starts from {place} (SHA-256 " in facts["recipe"]
    apart = build_report(tmp_path / "both" / "scratch", tmp_path / "both" / "started").comparisons
    assert len(apart) == 2 and "starting weights" in apart[1].apart


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arms": {"a": SMALL, "b": "resnet20:width=6"}},
            r"The arm 'b' \(resnet20:width=6\): The weights .* do not fit",
        ),
        ({"arms": {"a": SMALL}, "freeze": ("layr1.*",)}, r"The arm 'a' \(resnet20:width=4\): No parameter matches"),
    ],
)
def test_weights_and_patterns_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    study = resolve(changes.pop("arms"), init=save_weights(tmp_path / "start.pt", seed=7), **changes)
    with pytest.raises(UserError, match=message):
        inspect_study(study)
    with pytest.raises(UserError, match=message):
        run(study, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_weights_that_change_while_a_study_waits_are_noticed_by_its_cells(tmp_path: Path) -> None:
    study = resolve({"a": SMALL}, init=save_weights(tmp_path / "start.pt", seed=7))
    save_weights(tmp_path / "start.pt", seed=8)
    with pytest.raises(UserError, match="are others than those that this was begun with"):
        run_cell(list_cells(study, tmp_path / "study")[0], Silent(), StopRequest())
