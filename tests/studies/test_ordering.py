from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import FACTS, LOCAL, make_study
from test_running import Watcher

from vtbench.studies import ordering, resolution
from vtbench.studies.cells import list_cells
from vtbench.studies.executor import Session
from vtbench.studies.inspection import Inspector
from vtbench.studies.ordering import put_longest_first
from vtbench.studies.running import run_study
from vtbench.training import StopRequest

ARMS = {"light": "resnet20:width=2", "heavy": "resnet20:width=8", "middle": "resnet20:width=4"}


def order(folder: Path, arms: dict[str, str] = ARMS, facts: Any = FACTS, **changes: Any) -> list[str]:
    return [
        cell.label for cell in put_longest_first(list_cells(make_study(arms, **changes), folder), facts, Inspector())
    ]


def test_the_longest_cells_begin_first_and_seeds_stay_in_order(tmp_path: Path) -> None:
    assert order(tmp_path) == [f"{arm}, seed {seed}" for seed in (0, 1) for arm in ("heavy", "middle", "light")]


def test_epochs_and_images_count_as_macs_do(tmp_path: Path) -> None:
    epochs = {"light": {"recipe.epochs": 100}}
    assert order(tmp_path, seeds=1, treatments=epochs)[0] == "light, seed 0"
    many = replace(FACTS, of_arms={"light": replace(FACTS, num_train=100_000)})
    assert order(tmp_path, facts=many, seeds=1)[0] == "light, seed 0"


def test_cells_of_equal_length_keep_their_order(tmp_path: Path) -> None:
    arms = dict.fromkeys("bac", "resnet20:width=2")
    assert order(tmp_path, arms, seeds=1) == ["b, seed 0", "a, seed 0", "c, seed 0"]


def test_a_network_that_cannot_be_counted_comes_last(tmp_path: Path) -> None:
    assert order(tmp_path, {"bad": "resnet20:widht=2", **ARMS}, seeds=1)[-1] == "bad, seed 0"


def test_of_very_many_networks_none_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "MOST_COUNTED", 2)
    assert order(tmp_path, seeds=1) == [f"{arm}, seed 0" for arm in ARMS]


@pytest.mark.parametrize(("jobs", "first"), [(2, "heavy, seed 0"), (1, "light, seed 0")])
def test_a_study_of_several_cells_at_once_begins_with_the_longest_and_lists_them_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, first: str
) -> None:
    monkeypatch.setattr(resolution, "inspect_study", lambda study: FACTS)
    watcher = Watcher()
    session = Session(LOCAL, StopRequest(), jobs=jobs, threads=jobs)
    run_study(make_study(ARMS), tmp_path, session, watcher=watcher)
    assert watcher.begun[0] == first
    assert sorted(label[-1] for label in watcher.begun) == [label[-1] for label in watcher.begun]
    assert [cell.arm for cell in watcher.states[0].open_cells[:3]] == list(ARMS)
