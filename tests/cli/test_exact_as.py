import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vtbench.cli.exact import read_choice
from vtbench.cli.main import app
from vtbench.configuration import DataConfig, ExecutionConfig, Recipe, RunConfig
from vtbench.errors import UserError


def begin(folder: Path, **execution: object) -> Path:
    folder.mkdir(parents=True)
    carried_out = ExecutionConfig.model_validate(execution)
    config = RunConfig(
        variant="resnet20", data=DataConfig(), recipe=Recipe(name="small"), execution=carried_out, seed=0
    )
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    return folder


def test_a_choice_is_what_rounds_the_numbers_of_a_run_or_of_a_study_s_first_cell(tmp_path: Path) -> None:
    begin(tmp_path / "study" / "cells" / "a" / "seed-0", threads=3, precision="bfloat16", workers=5, eval_batch_size=7)
    begin(tmp_path / "study" / "cells" / "b" / "seed-0", threads=1)
    chosen = {"threads": 3, "precision": "bfloat16", "channels_last": True, "compile": False, "accumulate": 1}
    chosen |= {"eval_batch_size": 7}
    assert read_choice(tmp_path / "study") == chosen
    assert read_choice(tmp_path / "study" / "cells" / "b" / "seed-0")["threads"] == 1


def test_no_run_a_damaged_one_and_a_setting_beside_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run was begun"):
        read_choice(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as the settings of a run"):
        read_choice(tmp_path)
    for verb in (["train", "resnet20"], ["ablate"]):
        refused = CliRunner().invoke(app, [*verb, "--exact-as", str(tmp_path), "--precision", "bfloat16"])
        assert "--precision has no effect beside --exact-as" in str(refused.exception)


def test_a_run_exactly_as_another_has_its_settings(tmp_path: Path) -> None:
    small = ["--data", "scenes:num_train=40,num_val=20", "--recipe", "small", "--epochs", "1", "--device", "cpu"]
    other = begin(tmp_path / "other", threads=1, precision="bfloat16", channels_last=False)
    done = CliRunner().invoke(
        app, ["train", "resnet20:width=2", *small, "--exact-as", str(other), "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    execution = json.loads((tmp_path / "run" / "config.json").read_text())["execution"]
    assert (execution["threads"], execution["precision"], execution["channels_last"]) == (1, "bfloat16", False)
