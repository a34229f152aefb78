from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_parts import TinyImages, TinyNet, TinySegmenter, digest_run, load_both, load_tiny, tiny_config

from vtbench.configuration import ExecutionConfig, Recipe, RunConfig
from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.dataset import VOID
from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.metrics import is_of_class
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
from vtbench.tasks import TASKS, Tally
from vtbench.training import BatchProgress, RunStart, load_recipe, train_run
from vtbench.training.progress import ProgressListener


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


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


def test_a_finished_run_leaves_these_files_and_no_others(tiny: pytest.MonkeyPatch, tmp_path: Path, task: str) -> None:
    record = train_run(tiny_config(), tmp_path, arm="an arm", study="a study")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == [
        "answers.safetensors",
        "certificate.json",
        "config.json",
        "costs.json",
        "environment.json",
        *(["examples.zip"] if task == "segmentation" else []),
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


@pytest.mark.parametrize("task", ["classification"])
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


@pytest.mark.parametrize("task", ["segmentation"])
def test_a_run_learns_masks_and_its_accuracy_is_that_of_the_weights_on_disk(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = train_run(tiny_config(epochs=25, dropout=0, stochastic_depth=0, window=None), tmp_path)
    assert isinstance(record.outcome, dict)
    assert record.outcome == record.epochs[-1].averaged_val
    assert record.epochs[-1].train["loss"] < record.epochs[0].train["loss"]
    model = TinySegmenter(4, 4).eval()
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    images, truth = next(
        iter(EvalBatches(load_tiny(record.config.data, "val", seed=0), 12, targets=TASKS["segmentation"]))
    )
    right = pixels = 0
    with torch.no_grad():
        for scores, mask in zip(model(images), truth, strict=True):
            mask = mask[: int((mask[:, 0] != -1).sum())]
            size = mask.shape[0], mask.shape[1]
            found = torch.nn.functional.interpolate(scores[None], size, mode="bilinear").argmax(1)[0]
            right += int((found == mask)[mask != VOID].sum())
            pixels += int((mask != VOID).sum())
    assert record.outcome["pixel_accuracy_percent"] == pytest.approx(100 * right / pixels)
    assert record.outcome["pixel_accuracy_percent"] > 60


def test_without_averaging_the_accuracy_is_that_of_the_last_epoch(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(ema_decay=None), tmp_path)
    assert record.outcome == record.epochs[-1].val
    assert record.epochs[-1].averaged_val is None


def test_epoch_records_hold_the_rate_of_the_last_step_and_means_over_all_images(
    tiny: pytest.MonkeyPatch, tmp_path: Path, task: str
) -> None:
    frozen = {"optimizer": {"learning_rate": 1e-30}, "schedule": {"name": "step"}, "gradient_clip_norm": None}
    plain = {"dropout": 0, "stochastic_depth": 0, "augmentation": {"crop_padding": 0, "flip": False}}
    record = train_run(tiny_config(**frozen, **plain, epochs=3, ema_decay=None), tmp_path)
    assert [epoch.learning_rate for epoch in record.epochs] == pytest.approx([1e-30, 1e-31, 1e-32], rel=1e-6, abs=0)
    key, num_items = (
        ("top1_percent", 20) if task == "classification" else ("pixel_accuracy_percent", 20 * (8 * 8 - 2 * 2))
    )
    found = [epoch.train[key] * num_items / 100 for epoch in record.epochs]
    assert found == pytest.approx(np.round(found))  # 20 images, the last batch of 4 included; of each 4 pixels are void


@pytest.mark.parametrize("task", ["classification"])  # Whose items are images.
@pytest.mark.parametrize(("wish", "size"), [(None, 3), (5, 5)])
def test_the_record_says_how_many_images_were_evaluated_at_once(
    tiny: pytest.MonkeyPatch, tmp_path: Path, wish: int | None, size: int
) -> None:
    """And they were: as many as suit their size, no more than in a step, or as many as the user says."""
    tiny.setattr("vtbench.training.evaluation._LEAST_AT_ONCE", 3)
    tiny.setattr("vtbench.training.evaluation._PIXELS_AT_ONCE", 1)
    sizes = set[int]()

    def count(self: Tally, batch: int, loss: torch.Tensor, num_items: int) -> None:
        sizes.add(num_items)
        add_loss(self, batch, loss, num_items)

    add_loss = Tally.add_loss
    tiny.setattr(Tally, "add_loss", count)
    record = train_run(tiny_config(execution={"eval_batch_size": wish}, batch_size=4), tmp_path)
    assert record.eval_batch_size == size
    assert size in sizes


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


def test_the_listener_hears_the_whole_course(tiny: pytest.MonkeyPatch, tmp_path: Path, task: str) -> None:
    diary = Diary()
    record = train_run(tiny_config(), tmp_path, listener=diary)
    start, *course, end = diary.events
    assert isinstance(start, RunStart)
    assert (start.task, start.variant) == (task, tiny_config().variant)
    assert (start.epochs, start.batches_per_epoch, start.num_train) == (2, 3, 20)
    assert (start.first_epoch, start.first_batch, start.device) == (0, 0, "cpu")
    assert [event[0] for event in course if isinstance(event, tuple)] == list(record.epochs)
    last = [event for event in course if isinstance(event, BatchProgress)][-1]
    assert (last.epoch, last.batch, last.num_batches) == (1, 3, 3)
    assert {key: value for key, value in last.train.items() if not is_of_class(key)} == record.epochs[-1].train
    assert end == record


def test_the_variant_is_recorded_in_its_canonical_spelling(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    variant = tiny_config().variant
    config = tiny_config().model_copy(update={"variant": f"{variant}:width=4"})
    assert train_run(config, tmp_path).variant == variant


def test_costs_that_cannot_be_had_are_recorded_as_not_measured_where_the_user_says_so(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*arguments: Any) -> None:
        raise UserError("an operator that nobody knows")

    tiny.setattr("vtbench.training.preparation.count_costs", refuse)
    record = train_run(tiny_config(execution={"uncounted": True}), tmp_path)
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


DEVICELESS = ExecutionConfig().model_copy(update={"device": "abacus"})


@pytest.mark.parametrize(
    ("make_config", "message"),
    [
        (lambda: change(tiny_config(), variant=tiny_config().variant[:-1]), "Did you mean '{variant}'"),
        (lambda: change(tiny_config(), variant=f"{tiny_config().variant}:wdth=3"), "unknown option 'wdth'"),
        (lambda: change(tiny_config(), execution=DEVICELESS), "no device named 'abacus'"),
        (lambda: tiny_config(execution={"device": "cuda:99"}), "CUDA device"),
        (lambda: tiny_config(sync_batch_norm=True, execution={"accumulate": 2}), "sync_batch_norm"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tiny: pytest.MonkeyPatch, tmp_path: Path, make_config: Callable[[], RunConfig], message: str
) -> None:
    config = make_config()
    with pytest.raises(UserError, match=message.format(variant=tiny_config().variant)):
        train_run(config, tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


BAD_FOR_MASKS: list[tuple[dict[str, Any], str]] = [
    ({"class_weights": (1.0, 2.0)}, r"2 class_weights, but tiny has 4 classes: 'class 0'"),
    ({"augmentation": {"crop_padding": 0, "swap_on_flip": ((1, 4),)}}, "exchanges class 4 on a flip"),
    ({"augmentation": {"mixup": 0.2, "random_erasing": 0.1}}, "random_erasing, mixup, which changes an image"),
    ({"augmentation": {"auto_augment": True}}, "auto_augment, which changes an image and not its mask"),
    (
        {"distillation": {"teacher": "runs/teacher"}},
        "distils knowledge from a teacher, which is done for classification",
    ),
]


@pytest.mark.parametrize("task", ["segmentation"])
@pytest.mark.parametrize(("settings", "message"), BAD_FOR_MASKS)
def test_a_recipe_that_does_not_fit_masks_is_refused_before_anything_is_written(
    tiny: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train_run(tiny_config(**settings), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["segmentation"])
def test_data_without_masks_are_refused_before_anything_is_written(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Unmasked(TinyImages):
        read_masks = None  # type: ignore[assignment]

    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(lambda config, split, seed: Unmasked(20, 1)))
    with pytest.raises(UserError, match=r"has no masks\. Give them to a data set of yours"):
        train_run(tiny_config(), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_data_that_cannot_be_had_leaves_no_folder_behind(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise UserError("There is no folder of images.")

    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(refuse))
    with pytest.raises(UserError, match="no folder of images"):
        train_run(tiny_config(), tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["classification"])
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


@pytest.mark.parametrize("task", ["classification"])
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


@pytest.mark.parametrize("task", ["classification"])
def test_a_config_file_that_is_none_is_named(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json is not a RunConfig: variant: Field required"):
        train_run(tiny_config(), tmp_path)


def test_the_recipe_of_a_run_is_kept_whole_in_its_record(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tiny_config(label_smoothing=0.3)
    recipe = train_run(config, tmp_path).config.recipe
    assert isinstance(recipe, Recipe)
    assert recipe == config.recipe


@pytest.mark.parametrize("task", ["classification"])
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
