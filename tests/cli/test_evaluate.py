"""``vtbench evaluate`` as a user meets it: own data, others of the same classes, and mistakes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vtbench.models
from vtbench.cli.main import run
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.evaluation.calibration import ConfidenceKeeper
from vtbench.metrics import ECE, TOP5
from vtbench.records import NotMeasured, RunRecord, load_record, save_record
from vtbench.records.answers import load_answers
from vtbench.records.evaluation import EvaluationRecord
from vtbench.reporting.evaluation_report import list_lines
from vtbench.training import load_recipe, train_run

CLASSES = ("ant", "bee", "cat")


def write_images(folder: Path, names: tuple[str, ...] = CLASSES, *, num_images: int = 6) -> Path:
    """Pictures whose shade tells the class, under whatever names the folders have."""
    for split in ("train", "val"):
        for shade, name in enumerate(names):
            (folder / split / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = np.random.default_rng([shade, number]).integers(60 * shade, 60 * shade + 40, (16, 16, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def write_masks(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(4):
            classes = np.zeros((24, 32), np.uint8)
            top, left = rng.integers(0, 12), rng.integers(0, 16)
            classes[top : top + 12, left : left + 16] = 1
            Image.fromarray(200 * classes + 20).convert("RGB").save(folder / f"images/{split}/{number}.png")
            Image.fromarray(classes).save(folder / f"masks/{split}/{number}.png")
    return folder


def train(folder: Path, variant: str, spec: str, recipe: str, **data: int) -> RunRecord:
    assert vtbench.models.MODELS
    config = RunConfig(
        variant=variant,
        data=DataConfig(spec=spec, **data),
        recipe=load_recipe(recipe, epochs=2, batch_size=4),
        execution=ExecutionConfig(device="cpu", threads=1),
    )
    record = train_run(config, folder)
    assert record.status == "finished", record.error
    return record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of both tasks beside their data."""
    folder = tmp_path_factory.mktemp("evaluate")
    images, masks = write_images(folder / "images"), write_masks(folder / "masks")
    train(folder / "run", "resnet20:width=4", f"folder:{images}", "small", image_size=16, limit_val=15)
    segmenter = "fpn_resnet18:width=4"
    train(folder / "segmenter", segmenter, f"folder:{masks},num_classes=2", "segmentation_small", image_size=24)
    return folder


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", "evaluate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run()
        told = capfd.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def test_on_its_own_images_a_run_is_judged_as_in_its_record(place: Path, evaluate, tmp_path: Path) -> None:
    code, said, _ = evaluate(place / "run", "--device", "cpu", "--out", tmp_path)
    assert code == 0
    assert "15 validation images in 3 classes, those of the run" in said and "top-1 in its record: the same" in said
    assert said.count("in its record") == 1
    assert "\n  val loss " in said
    assert all(len(line) <= 80 for line in said.splitlines() if "folder:" not in line and str(tmp_path) not in line)
    (folder,) = tmp_path.iterdir()
    record, run_record = (
        load_record(folder / "evaluation.json", EvaluationRecord),
        load_record(place / "run" / "record.json", RunRecord),
    )
    assert record.is_own and record.outcome["top1_percent"] == run_record.headline
    assert record.outcome["loss"] == run_record.outcome["loss"]
    assert record.answers_sha256 == run_record.answers_sha256
    assert (folder / "answers.safetensors").read_bytes() == (place / "run" / "answers.safetensors").read_bytes()
    assert isinstance(record.outcome["top5_percent"], NotMeasured)
    confusion = [[int(row[name]) for name in CLASSES] for row in read_rows(folder / "confusion.csv")]
    assert sum(map(sum, confusion)) == 15
    right = 100 * sum(confusion[number][number] for number in range(3)) / 15
    assert right == pytest.approx(record.outcome["top1_percent"])
    per_class = {row["name"]: float(row["accuracy_percent"]) for row in read_rows(folder / "classes.csv")}
    assert per_class == {name: 100 * confusion[n][n] / sum(confusion[n]) for n, name in enumerate(CLASSES)}
    with Image.open(folder / "confusion.png") as figure:
        assert min(figure.size) > 500
    save_record(folder / "evaluation.json", record.model_copy(update={"weights_sha256": "0" * 64}))
    code, _, err = evaluate(place / "run", "--device", "cpu", "--out", tmp_path)
    assert code == 2
    assert "evaluation.json is there already and is not of this run: it would be replaced." in err


def test_a_run_is_judged_with_other_windows_beside_its_own_and_only_with_what_judging_has(
    place: Path, evaluate, tmp_path: Path
) -> None:
    words = ["--set", "recipe.window=[16, 16]", "-b", "3", "--device", "cpu", "--out", tmp_path]
    code, said, err = evaluate(place / "segmenter", *words, "--json")
    assert code == 0, err
    (record,) = json.loads(said)
    assert record["settings"] == {"recipe.window": [16, 16], "recipe.batch_size": 3}
    own = load_record(place / "segmenter" / "record.json", RunRecord).outcome
    assert record["outcome"]["loss"] != own["loss"]
    (folder,) = tmp_path.iterdir()
    assert folder.name.endswith("-window-16-16-batch_size-3")
    for name, setting, told in [
        ("segmenter", "recipe.windw=[8, 8]", "Did you mean 'recipe.window'"),
        (
            "segmenter",
            "recipe.epochs=3",
            "changes nothing about a network that is trained. vtbench evaluate takes: recipe.",
        ),
        ("run", "recipe.window=[8, 8]", "windows are of segmentation, and resnet20:width=4 classifies"),
    ]:
        code, _, err = evaluate(place / name, "--set", setting, "--out", tmp_path / "none")
        assert (code, told in err, "Traceback" in err) == (2, True, False), err


def test_of_each_number_that_the_record_has_otherwise_it_is_said_what_it_has_there(
    place: Path, evaluate, tmp_path: Path
) -> None:
    assert evaluate(place / "segmenter", "--device", "cpu", "--out", tmp_path)[0] == 0
    (folder,) = tmp_path.iterdir()
    now = load_record(folder / "evaluation.json", EvaluationRecord)
    run_record = load_record(place / "segmenter" / "record.json", RunRecord)
    kept = run_record.outcome
    assert isinstance(kept, dict) and all(isinstance(kept[key], float) for key in ("loss", "dice_percent"))

    def compare(**changes: float) -> list[tuple[str, str]]:
        other = run_record.model_copy(update={"outcome": kept | changes})
        return [(name, text) for name, text in list_lines(now, other) if "record" in name]

    same = ("mIoU in its record:", "the same")
    assert compare() == [same]
    assert compare(loss=2.5) == [same, ("val loss in its record:", "2.5000")]
    assert compare(dice_percent=12.345) == [same, ("Dice in its record:", "12.35 %")]
    assert compare(miou_percent=25.73) == [("mIoU in its record:", "25.73 %")]
    near = kept["loss"] + 1e-9
    assert compare(loss=near)[1:] == [("val loss in its record:", f"{near:.4f}, other in digits not shown")]
    without = run_record.model_copy(update={"outcome": {key: kept[key] for key in kept if key != "loss"}})
    assert not any("loss in" in name for name, _ in list_lines(now, without))


def test_other_data_are_judged_by_the_names_of_classes_whatever_their_order(
    place: Path, evaluate, tmp_path: Path
) -> None:
    names = ("zebra", "bee", "ant")  # Renamed, so that folders come in another order than shades.
    other = write_images(tmp_path / "other", ("x", "y", "z"))
    for split in ("train", "val"):
        for old, new in zip(("x", "y", "z"), ("cat", "bee", "ant"), strict=True):
            (other / split / old).rename(other / split / new)
    code, said, _ = evaluate(
        place / "run", "--data", f"folder:{place / 'images'}", f"folder:{other}", "--json", "--out", tmp_path / "out"
    )
    assert code == 0
    plain, mirrored = json.loads(said)
    assert plain["num_images"] == mirrored["num_images"] == 18 and not plain["is_own"]
    # Dark images are called cat there: what the network takes for class 0 are all of class 2.
    assert plain["classes"][0]["taken_for"] == mirrored["classes"][2]["taken_for"]
    assert plain["classes"][1] == mirrored["classes"][1]
    assert len(list((tmp_path / "out").iterdir())) == 2
    for split in ("train", "val"):
        (other / split / "cat").rename(other / split / names[0])
    code, _, err = evaluate(place / "run", "--data", f"folder:{other}")
    assert code == 2 and "only the network has 'cat'" in err and "'zebra'" in err and "Traceback" not in err


def test_images_are_normalised_as_those_that_the_network_was_trained_on(place: Path, evaluate, tmp_path: Path) -> None:
    same = write_images(tmp_path / "same")
    for path in same.glob("train/*/*.png"):  # Another training split, whose colours must not matter.
        Image.new("RGB", (16, 16), (250, 0, 0)).save(path)
        Image.effect_noise((16, 16), 90).convert("RGB").save(path)
    code, said, _ = evaluate(
        place / "run", "--data", f"folder:{place / 'images'}", f"folder:{same}", "--json", "--out", tmp_path / "out"
    )
    first, second = json.loads(said)
    assert code == 0 and first["outcome"] == second["outcome"] and first["classes"] == second["classes"]


def test_segmentation_has_the_metrics_of_its_record_and_a_row_a_class(place: Path, evaluate, tmp_path: Path) -> None:
    code, said, _ = evaluate(place / "segmenter", "--out", tmp_path)
    assert code == 0 and "mIoU in its record: the same" in said and said.count("in its record") == 1
    assert all(len(line) <= 80 for line in said.splitlines() if "folder:" not in line and str(tmp_path) not in line)
    (folder,) = tmp_path.iterdir()
    record = load_record(folder / "evaluation.json", EvaluationRecord)
    kept = load_record(place / "segmenter" / "record.json", RunRecord).outcome
    assert isinstance(kept, dict)
    assert {key: kept[key] for key in record.outcome} == record.outcome
    for number, one in enumerate(record.classes):
        assert one.numbers["iou_percent"] == kept[f"iou_percent/{number}"]
        assert one.items == kept[f"pixels/{number}"] == sum(one.taken_for.values())
    answers = load_answers(folder / "answers.safetensors", record.answers_sha256)
    assert len(answers.scores) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}", "--data", "folder:nowhere"], "nowhere"),
        (["{run}", "--limit-val", "5"], "--data"),
        (["{run}", "-b", "2", "--set", "recipe.batch_size=3"], "recipe.batch_size is given twice"),
        (["{run}", "--data", "folder:{images}", "--image-size", "20"], "trained at 16 x 16"),
        (["{images}"], "no finished run"),
        (["{segmenter}", "--data", "folder:{images}"], "no masks"),
        (["{run}", "--data", "folder:{images}", "--limit-val", "500"], "limit-val"),
    ],
)
def test_a_mistake_is_one_message(place: Path, evaluate, words: list[str], told: str) -> None:
    names = {name: place / name for name in ("run", "segmenter", "images")}
    code, _, err = evaluate(*(word.format(**names) for word in words))
    assert code == 2 and told in err and "Traceback" not in err


def test_own_data_that_have_changed_are_refused_and_weights_that_were_changed_too(tmp_path: Path, evaluate) -> None:
    images = write_images(tmp_path / "images", num_images=3)
    train(tmp_path / "run", "resnet20:width=4", f"folder:{images}", "small", image_size=16)
    Image.new("RGB", (16, 16), "white").save(images / "val" / "ant" / "0.png")
    code, _, err = evaluate(tmp_path / "run")
    assert code == 2 and "not those that the run was validated on" in err
    weights = tmp_path / "run" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    code, _, err = evaluate(tmp_path / "run", "--data", f"folder:{images}")
    assert code == 2 and "not those of its record" in err


def test_the_calibration_error_is_that_of_its_definition_also_where_a_network_is_all_but_certain() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.cat([torch.randn(300, 8, generator=generator) * 3, torch.eye(8).repeat(20, 1) * 200])
    labels = torch.randint(0, 8, (460,), generator=generator)
    keeper = ConfidenceKeeper()
    for part in (slice(0, 100), slice(100, 460)):
        keeper.hear(logits[part], labels[part])
    outcome, bins = keeper.measure()
    confidence, predicted = (part.numpy() for part in logits.double().softmax(1).max(1))
    right = predicted == labels.numpy()
    place = np.minimum((confidence * 15).astype(int), 14)
    error = sum(abs(right[place == n].mean() - confidence[place == n].mean()) * (place == n).mean() for n in set(place))
    assert outcome[ECE.key] == pytest.approx(100 * error, abs=1e-4)
    assert sum(one.images for one in bins) == 460
    weighted = sum(abs(one.accuracy_percent - one.confidence_percent) * one.images for one in bins) / 460
    assert outcome[ECE.key] == pytest.approx(weighted, abs=1e-4)
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).double().mean()
    assert outcome[TOP5.key] == pytest.approx(100 * float(top5))
