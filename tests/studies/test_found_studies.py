import os
import shutil
from pathlib import Path

import pytest

import vtbench
from vtbench.errors import UserError
from vtbench.studies.study import find_study, list_studies

TEXT = 'question = "q"\n[arms]\na = "resnet20"\n'


def test_studies_are_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list_studies()
    monkeypatch.chdir(tmp_path)
    assert list_studies() == before
    assert "components" in before


def test_an_installed_package_brings_its_studies_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(vtbench.__file__).parent.parent / "ablations", tmp_path / "vtbench" / "ablations")
    monkeypatch.setattr("importlib.resources.files", lambda name: tmp_path / name)
    assert list_studies()["components"] == tmp_path / "vtbench" / "ablations" / "components.toml"


def test_the_wheel_takes_the_studies_along() -> None:
    project = (Path(vtbench.__file__).parent.parent / "pyproject.toml").read_text()
    assert '"ablations" = "vtbench/ablations"' in project


def test_a_study_of_ones_own_is_given_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    name, study = find_study(str(tmp_path / "mine.toml"))
    assert (name, study.question) == ("mine", "q")


def test_a_bare_file_name_is_a_path_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert find_study("mine.toml")[0] == "mine"
    assert find_study(f".{os.sep}mine.toml")[0] == "mine"


def test_an_unknown_study_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no study named 'componets'\. Did you mean 'components'"):
        find_study("componets")
