from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_parts import TinyNet, digest_run, load_tiny, tiny_config

from vtbench.configuration import Recipe, RunConfig
from vtbench.datasets.batches import EvalBatches
from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.records import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    NotMeasured,
    RunRecord,
    TimingRecord,
    load_lines,
    load_record,
)
from vtbench.training import BatchProgress, RunStart, load_recipe, train_run
from vtbench.training.progress import ProgressListener


class Diary(ProgressListener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_start(self, start: RunStart) -> None:
        self.events.append(start)

    def on_batch(self, progress: BatchProgress) -> None:
        self.events.append(progress)

    def on_epoch(self, epoch: EpochRecord, timing: TimingRecord) -> None:
        self.events.append((epoch, timing))

    def on_finish(self, record: RunRecord) -> None:
        self.events.append(record)


def test_a_finished_run_leaves_these_files_and_no_others(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(), tmp_path, arm="an arm", study="a study")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == [
        "certificate.json",
        "config.json",
        "costs.json",
        "environment.json",
        "metrics.jsonl",
        "record.json",
        "timing.jsonl",
        "weights.safetensors",
    ]
    assert load_record(tmp_path / "record.json", RunRecord) == record
    assert load_record(tmp_path / "certificate.json", Certificate) == record.certificate
    assert load_record(tmp_path / "costs.json", CostRecord) == record.costs
    assert load_record(tmp_path / "environment.json", EnvironmentRecord) == record.environment
    assert tuple(load_lines(tmp_path / "metrics.jsonl", EpochRecord)) == record.epochs
    assert len(load_lines(tmp_path / "timing.jsonl", TimingRecord)) == 2
    assert (record.arm, record.study, record.status) == ("an arm", "a study", "finished")
    assert (record.num_train, record.num_val, record.num_classes) == (20, 12, 4)
    assert record.class_names == load_tiny(tiny_config().data, "train", seed=0).class_names
    assert record.weights_sha256 == hash_file(tmp_path / "weights.safetensors")


def test_two_runs_of_one_configuration_leave_the_same_bytes(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path / "a")
    train_run(tiny_config(), tmp_path / "b")
    assert digest_run(tmp_path / "a") == digest_run(tmp_path / "b")


def test_another_seed_gives_other_weights(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = train_run(tiny_config(seed=0), tmp_path / "a")
    second = train_run(tiny_config(seed=1), tmp_path / "b")
    assert first.weights_sha256 != second.weights_sha256


def test_a_run_learns_and_its_accuracy_is_that_of_the_weights_on_disk(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(epochs=25, dropout=0, stochastic_depth=0), tmp_path)
    assert isinstance(record.headline, float)
    assert record.headline > 70
    assert record.epochs[-1].train["loss"] < record.epochs[0].train["loss"]
    assert record.outcome == record.epochs[-1].averaged_val
    model = TinyNet(4, 4).eval()
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    images, labels = next(iter(EvalBatches(load_tiny(record.config.data, "val", seed=0), 12)))
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).float().mean()
    assert record.headline == pytest.approx(100 * float(right))


def test_without_averaging_the_accuracy_is_that_of_the_last_epoch(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(ema_decay=None), tmp_path)
    assert record.outcome == record.epochs[-1].val
    assert record.epochs[-1].averaged_val is None


def test_epoch_records_hold_the_rate_of_the_last_step_and_means_over_all_images(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frozen = {"optimizer": {"learning_rate": 1e-30}, "schedule": {"name": "step"}, "gradient_clip_norm": None}
    plain = {"dropout": 0, "stochastic_depth": 0, "augmentation": {"crop_padding": 0, "flip": False}}
    record = train_run(tiny_config(**frozen, **plain, epochs=3, ema_decay=None), tmp_path)
    assert [epoch.learning_rate for epoch in record.epochs] == pytest.approx([1e-30, 1e-31, 1e-32], rel=1e-6, abs=0)
    accuracies = [epoch.train["top1_percent"] * 20 / 100 for epoch in record.epochs]
    assert accuracies == pytest.approx(np.round(accuracies))  # 20 images, the last batch of 4 included


def test_a_finished_run_is_returned_and_not_trained_again(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(), tmp_path)
    before = (tmp_path / "record.json").stat().st_mtime_ns
    diary = Diary()
    assert train_run(tiny_config(), tmp_path, listener=diary) == record
    assert diary.events == [record]
    assert (tmp_path / "record.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("finished", [True, False])
def test_another_configuration_in_the_same_folder_is_refused_with_the_difference(
    tiny: pytest.MonkeyPatch, tmp_path: Path, finished: bool
) -> None:
    train_run(tiny_config(), tmp_path)
    if not finished:
        (tmp_path / "record.json").unlink()
    with pytest.raises(UserError, match=r"recipe\.epochs is 2 there and 3 here; seed is 0 there and 1 here"):
        train_run(tiny_config(epochs=3, seed=1), tmp_path)


def test_a_run_keeps_the_threads_that_it_was_begun_with(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(execution={"threads": 1}), tmp_path)
    assert train_run(tiny_config(execution={"threads": 2}), tmp_path) == record


def test_the_listener_hears_the_whole_course(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    diary = Diary()
    record = train_run(tiny_config(), tmp_path, listener=diary)
    start, *course, end = diary.events
    assert isinstance(start, RunStart)
    assert (start.variant, start.epochs, start.batches_per_epoch, start.num_train) == ("tiny", 2, 3, 20)
    assert (start.first_epoch, start.first_batch, start.device) == (0, 0, "cpu")
    assert [event[0] for event in course if isinstance(event, tuple)] == list(record.epochs)
    last = [event for event in course if isinstance(event, BatchProgress)][-1]
    assert (last.epoch, last.batch, last.num_batches) == (1, 3, 3)
    assert last.train == record.epochs[-1].train
    assert end == record


def test_the_variant_is_recorded_in_its_canonical_spelling(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tiny_config().model_copy(update={"variant": "tiny:width=4"})
    assert train_run(config, tmp_path).variant == "tiny"


def test_costs_that_cannot_be_had_are_recorded_as_not_measured(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: Any) -> None:
        raise UserError("an operator that nobody knows")

    tiny.setattr("vtbench.training.preparation.count_costs", refuse)
    record = train_run(tiny_config(), tmp_path)
    assert record.costs == NotMeasured(reason="an operator that nobody knows")


def test_torch_is_left_as_it_was_found(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train_run(tiny_config(), tmp_path)
    after = torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def change(config: RunConfig, **update: Any) -> RunConfig:
    return config.model_copy(update=update)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (change(tiny_config(), variant="tny"), "Did you mean 'tiny'"),
        (change(tiny_config(), variant="tiny:wdth=3"), "unknown option 'wdth'"),
        (tiny_config(execution={"device": "abacus"}), "no device named 'abacus'"),
        (tiny_config(execution={"device": "cuda:99"}), "CUDA devices"),
        (tiny_config(sync_batch_norm=True, execution={"accumulate": 2}), "sync_batch_norm"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tiny: pytest.MonkeyPatch, tmp_path: Path, config: RunConfig, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train_run(config, tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_had_leaves_no_folder_behind(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise UserError("There is no folder of images.")

    tiny.setattr("vtbench.training.preparation.load_dataset", refuse)
    with pytest.raises(UserError, match="no folder of images"):
        train_run(tiny_config(), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write to the output folder"):
        train_run(tiny_config(), tmp_path / "file" / "run")


def test_leftovers_of_a_save_that_was_cut_short_are_removed(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    for name in (".record.json.x.partial", "checkpoint/.00000001.safetensors.x.partial"):
        (tmp_path / name).write_bytes(b"half")
    train_run(tiny_config(), tmp_path)
    assert not list(tmp_path.rglob("*.partial"))


HOLDER = """
import sys
from pathlib import Path
from vtbench.training.folder import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_train_in_one_folder(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        expected = rf"in use by process {other.pid} on .*, or give another folder with --out"
        with pytest.raises(UserError, match=expected):
            train_run(tiny_config(), tmp_path)
        other.kill()
        other.wait()
    assert train_run(tiny_config(), tmp_path).status == "finished"  # A dead process holds nothing.


def test_a_config_file_that_is_none_is_named(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json is not the configuration of a run"):
        train_run(tiny_config(), tmp_path)


def test_the_recipe_of_a_run_is_kept_whole_in_its_record(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tiny_config(label_smoothing=0.3)
    recipe = train_run(config, tmp_path).config.recipe
    assert isinstance(recipe, Recipe)
    assert recipe == config.recipe


def test_the_advanced_recipe_trains_a_student_from_a_teacher(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path / "teacher")
    recipe = load_recipe("advanced", epochs=2, teacher=str(tmp_path / "teacher"))
    config = tiny_config().model_copy(update={"recipe": recipe.model_copy(update={"batch_size": 8})})
    record = train_run(config, tmp_path / "student")
    assert record.error is None
    assert record.outcome == record.epochs[-1].averaged_val


@pytest.mark.parametrize(("task", "keys"), [("classification", []), ("segmentation", ["class_weights"])])
def test_the_record_says_what_the_data_settled(tiny: pytest.MonkeyPatch, tmp_path: Path, keys: list[str]) -> None:
    record = train_run(tiny_config(epochs=1), tmp_path)
    assert list(record.settled_by_data) == keys
    assert load_record(tmp_path / "record.json", RunRecord) == record


def test_checkpoints_behind_a_link_are_neither_written_nor_removed(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".old.partial").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"run/checkpoint is a link to .*elsewhere.*Remove the link"):
        train_run(tiny_config(), tmp_path / "run")
    assert (tmp_path / "elsewhere" / ".old.partial").read_text() == "precious"


def test_a_record_of_another_run_is_not_believed(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path / "a")
    train_run(tiny_config(seed=1), tmp_path / "b")
    shutil.copy(tmp_path / "a" / "record.json", tmp_path / "b" / "record.json")
    with pytest.raises(UserError, match="is the record of another run: seed is 0 in it and 1 here"):
        train_run(tiny_config(seed=1), tmp_path / "b")
