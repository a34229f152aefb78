"""A folder of good inputs that a battery spoils, and the places where the work itself would begin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from calling import accept, interrupt
from good_inputs import STUDY, TINY_DATA, TINY_MODEL
from kept_folders import make_kept
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "reporting"))
from synthetic_runs import list_runs, write_study


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for a moment."""
    import vtbench.models
    from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
    from vtbench.training import load_recipe, train_run

    assert vtbench.models.MODELS
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = RunConfig(
        variant=TINY_MODEL,
        data=DataConfig(spec=TINY_DATA, image_size=16),
        recipe=load_recipe("small", epochs=1),
        execution=ExecutionConfig(device="cpu", threads=1),
    )
    assert train_run(config, folder).status == "finished"
    return folder


@pytest.fixture(scope="session")
def finished_segmenter(tmp_path_factory: pytest.TempPathFactory, finished_run: Path, finished_study: Path) -> Path:
    """A run whose answers are masks."""
    folder = tmp_path_factory.mktemp("segmenters") / "tiny"
    make_kept("segmentation run", folder, finished_run, finished_study)
    return folder


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of a whole study, made up."""
    return write_study(tmp_path_factory.mktemp("studies") / "components", list_runs())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a good image, study and recipe, and spoiled paths of every kind."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("a.png")
    Path("study.toml").write_text(STUDY)
    Path("folder").mkdir()
    for suffix in ("", ".toml", ".png", ".safetensors", ".pt", ".json", ".parquet", ".py"):
        Path(f"empty{suffix}").touch()
        Path(f"binary{suffix}").write_bytes(bytes(range(256)) * 8)
        os.mkfifo(f"pipe{suffix}")
        Path(f"loop{suffix}").symlink_to(f"loop{suffix}")
        Path(f"dangling{suffix}").symlink_to(f"nowhere{suffix}")
        Path(f"folder{suffix}").mkdir(exist_ok=True)
    return tmp_path


@pytest.fixture(autouse=True)
def work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes its time is not done: that the command came so far says that it accepted its input."""

    monkeypatch.setattr("vtbench.training.run.EpochLoop.run", accept)
    monkeypatch.setattr("vtbench.training.progress.StopRequest.request", interrupt)
    monkeypatch.setattr("vtbench.studies.running.choose_placement", accept)
    monkeypatch.setattr("vtbench.studies.planning.choose_placement", accept, raising=False)
    monkeypatch.setattr("vtbench.studies.verification.verify_resume", accept)
    monkeypatch.setattr("vtbench.audit.audit.run_audit", accept)
    monkeypatch.setattr("vtbench.reporting.token_report._DPI", 30)
