"""Of every feature of recipes a killed run ends in the same bytes, and no bit comes from memory that nobody wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from recipe_features import FEATURES, make_config, write_parquet

from vtbench.configuration import ExecutionConfig, OptimizerConfig, Recipe
from vtbench.files import hash_file
from vtbench.training import train_run
from vtbench.training.progress import ProgressListener

NO_FEATURES = {
    "name",
    "file",
    "changed",
    "epochs",
    "batch_size",
    "sync_batch_norm",
    "stride",
    "schedule",
    "label_smoothing",
}
"""Of recipes: what keeps no state, and what takes several processes."""


def test_every_field_of_recipes_and_executions_that_keeps_state_is_a_feature() -> None:
    changed = {key for feature in FEATURES.values() for key in feature.recipe}
    assert changed | NO_FEATURES == set(Recipe.model_fields)
    executions = {key for feature in FEATURES.values() for key in feature.execution}
    elsewhere = {"device", "devices", "threads", "checkpoint_seconds", "channels_last", "uncounted", "shard_optimizer"}
    assert executions | elsewhere == set(ExecutionConfig.model_fields)
    optimizers = {feature.recipe.get("optimizer", {}).get("name", "sgd") for feature in FEATURES.values()}
    assert optimizers == set(get_args(OptimizerConfig.model_fields["name"].annotation))
    precisions = {feature.execution.get("precision", "float32") for feature in FEATURES.values()}
    assert precisions == set(get_args(ExecutionConfig.model_fields["precision"].annotation))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a teacher."""
    import vtbench.models

    assert vtbench.models.MODELS
    folder = tmp_path_factory.mktemp("work")
    write_parquet(folder / "parquet")
    assert train_run(make_config(FEATURES["plain"], folder), folder / "teacher").status == "finished"
    return folder


class FillMemory(ProgressListener):
    """Memory that nobody has written holds NaN from the start of training on."""

    def on_start(self, *arguments: Any) -> None:
        filling: Any = torch.utils.deterministic
        filling.fill_uninitialized_memory = True


def mark_compiled(name: str) -> Any:
    """What is compiled wants a compiler."""
    return pytest.param(name, marks=[pytest.mark.not_in_ci] * (name == "compile"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [mark_compiled(name) for name in FEATURES])
def test_no_bit_of_a_run_comes_from_memory_that_nobody_wrote(name: str, work: Path, tmp_path: Path) -> None:
    config = make_config(FEATURES[name], work)
    config = config.model_copy(update={"execution": config.execution.model_copy(update={"workers": 0})})
    plain = train_run(config, tmp_path / "plain")
    filled = train_run(config, tmp_path / "filled", listener=FillMemory())
    assert (plain.status, plain.error) == ("finished", None)
    assert filled == plain
    assert hash_file(tmp_path / "filled" / "metrics.jsonl") == hash_file(tmp_path / "plain" / "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.not_in_ci
def test_runs_of_every_feature_that_were_killed_twice_end_in_the_same_bytes(tmp_path: Path) -> None:
    script, number = Path(__file__).with_name("kill_features.py"), 2 * len(FEATURES)
    command = [sys.executable, str(script), str(tmp_path), "--kills", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    total = done.stdout.splitlines()[-1].replace("|", " ").split()
    assert total == ["all", str(number), str(len(FEATURES)), str(number)]
