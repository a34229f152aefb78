"""``vtbench train`` as a user meets it: real models, real data, few images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtbench.cli.main import run
from vtbench.cli.verb_train import list_facts
from vtbench.records import EpochRecord

sys.path.append(str(Path(__file__).parents[1] / "reporting"))
from synthetic_runs import make_run

SMALL = ["--recipe", "small", "--limit-train", "40", "--limit-val", "20", "--threads", "1", "--device", "cpu"]
FOLDER = "runs/resnet20-scenes-small-epochs-{epochs}-limit-train-40-limit-val-20-seed0"


@pytest.fixture
def vtbench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Call the command in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


def test_a_run_prints_its_course_and_its_summary_and_the_same_command_shows_it_again(vtbench) -> None:
    code, output, errors = vtbench("train", "resnet20", *SMALL, "--epochs", "1")
    assert code == 0
    assert "\x1b" not in output + errors
    lines = errors.splitlines()
    assert lines[0].startswith("A batch of 64 holds all 40 training images, so that an epoch is one step of 40.")
    assert lines[1] == "resnet20, seed 0: 1 epoch of 40 images in 10 classes, 20 to validate, on cpu"
    assert lines[2].startswith("epoch 1/1  train loss ")
    assert len(lines) == 3
    summary = output.splitlines()
    assert summary[0] == "resnet20, seed 0"
    assert summary[1].startswith("  top-1 ")
    assert "an image of 3x32x32" in output
    assert summary[-1].split() == ["run", FOLDER.format(epochs=1)]
    assert Path(FOLDER.format(epochs=1), "record.json").exists()
    again = output.replace("1 epoch,", "1 epoch before, none now,")
    told = f"Nothing was trained: the run in {FOLDER.format(epochs=1)} had finished before.\n"
    assert vtbench("train", "resnet20", *SMALL, "--epochs", "1") == (0, again, told)


@pytest.mark.parametrize(("before", "told"), [(0, "3 epochs"), (1, "3 epochs (1 before, 2 now)")])
def test_the_summary_of_a_run_that_went_on_tells_its_epochs_before_and_now(before: int, told: str) -> None:
    record = make_run(epochs=3)
    epochs = tuple(EpochRecord(epoch=number, learning_rate=0.1, train={}, val={}) for number in range(3))
    facts = dict(list_facts(record.model_copy(update={"epochs": epochs}), Path("x"), before))
    assert facts["trained"].startswith(f"{told}, recipe small")


def test_json_is_all_that_comes_on_standard_output(vtbench) -> None:
    options = ["--epochs", "1", "--batch-size", "20", "--label-smoothing", "0.25", "--clip", "3", "--seed", "7"]
    code, output, errors = vtbench(
        "train", "resnet20", *SMALL, *options, "--learning-rate", "0.02", "--json", "--out", "o"
    )
    assert code == 0
    record = json.loads(output)
    assert (record["folder"], record["seed"], record["status"]) == ("o", 7, "finished")
    recipe = record["config"]["recipe"]
    assert (recipe["batch_size"], recipe["label_smoothing"], recipe["gradient_clip_norm"]) == (20, 0.25, 3)
    assert recipe["optimizer"]["learning_rate"] == 0.02
    assert recipe["optimizer"]["nesterov"]
    assert "epoch 1/1" in errors


def test_a_run_that_starts_from_another_has_a_folder_of_its_own_and_says_what_it_took(vtbench) -> None:
    assert vtbench("train", "resnet20", *SMALL, "--epochs", "1", "--out", "first")[0] == 0
    words = (
        "train",
        "resnet20",
        *SMALL,
        "--epochs",
        "1",
        "--init",
        "first",
        "--freeze",
        "layer1.*",
        "--freeze",
        "bn1.*",
    )
    code, _, errors = vtbench(*words)
    assert code == 0
    assert errors.splitlines()[0].startswith("Starts from first: 116 of 116 tensors taken, 269,722 parameters.")
    (folder,) = Path("runs").glob("*-from-first-seed0")
    record = json.loads((folder / "record.json").read_text())
    assert record["config"]["recipe"]["freeze"] == ["layer1.*", "bn1.*"]
    assert record["start"]["frozen_params"] == 3 * (2 * 16 * 16 * 9 + 2 * 2 * 16) + 2 * 16
    code, _, errors = vtbench(*words[:-4], "--out", str(folder))
    assert code == 2 and "recipe.freeze" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet20", "--epochs", "0"], "--epochs was given '0': allowed: a whole number from 1 to 100,000."),
        (["resnet20", "--recipe", "smal"], "Did you mean 'small'"),
        (["resnet20", "--recipe", "advanced"], "--teacher"),
        (["resnet20", "--batch-size", "0"], "--batch-size was given '0': allowed: "),
        (["resnet20", "--label-smoothing", "1"], "--label-smoothing was given '1': allowed: "),
        (["resnet20", "--seed", "-1"], "--seed was given '-1': allowed: "),
        (["resnet20", "--precision", "int8"], "--precision was given 'int8': allowed: "),
        (["resnet20", "--workers", "-1"], "--workers was given '-1': allowed: "),
        (["resnet20", "--device", "abacus"], "no device named 'abacus'"),
        (["resnt20"], "Did you mean 'resnet20'"),
        (["resnet20:widht=2"], "unknown option 'widht'"),
        (["resnet20", "--data", "scene"], "Did you mean 'scenes'"),
        (["resnet20", "--data", "folder:nowhere"], "nowhere"),
        (["resnet20", "--limit-train", "0"], "--limit-train was given '0': allowed: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(vtbench, arguments: list[str], message: str) -> None:
    code, output, errors = vtbench("train", *arguments)
    assert code == 2
    assert message in errors
    assert errors.startswith("vtbench: ")
    assert errors.count("\n") == 1
    assert output == ""
    assert list(Path().iterdir()) == []


def write_masked(folder: Path, *, mask: Image.Image | None = None, kind: str = "png") -> None:
    """Two images a split with masks of three classes and void, of which one validation mask is ``mask``, if given."""
    for split in ("train", "val"):
        for number in range(2):
            for name in ("images", "masks"):
                (folder / name / split).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 255, (64, 80, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / f"{number}.png")
            plain = Image.fromarray(np.where(pixels[..., 0] < 9, 255, pixels[..., 1] % 3).astype(np.uint8))
            spoiled = mask is not None and (split, number) == ("val", 1)
            suffix = kind if spoiled else "png"
            (mask if spoiled and mask is not None else plain).save(folder / "masks" / split / f"{number}.{suffix}")


FPN = ["fpn_resnet18:width=8", "--recipe", "segmentation_small"]


@pytest.mark.parametrize(
    ("mask", "kind", "knobs", "message"),
    [
        (None, "png", "", "num_classes=NUMBER"),
        (None, "png", ",num_classes=2", "value 2 in "),
        (None, "png", ",num_classes=3,ignore=2", "which is class 2"),
        (None, "png", ",classes=vocc", "voc"),
        (Image.new("L", (80, 64), 7), "png", ",num_classes=3", "masks/val/1.png has the value 7 in 5,120 pixels"),
        (Image.new("L", (64, 80)), "png", ",num_classes=3", "masks/val/1.png has 80x64 pixels and its image"),
        (Image.new("L", (80, 64)), "jpg", ",num_classes=3", "JPEG"),
        (Image.new("RGB", (80, 64)), "png", ",num_classes=3", "masks/val/1.png"),
    ],
)
def test_bad_masks_are_one_message_exit_2_and_nothing_trained(
    vtbench, mask: Image.Image | None, kind: str, knobs: str, message: str
) -> None:
    write_masked(Path("data"), mask=mask, kind=kind)
    code, output, errors = vtbench("train", *FPN, "--data", f"folder:data{knobs}")
    assert (code, output) == (2, "")
    assert errors.startswith("vtbench: ") and errors.count("\n") == 1
    assert message in errors
    assert [path.name for path in Path().iterdir()] == ["data"]


def test_masks_of_an_object_missing_masks_and_data_without_any_are_refused(vtbench) -> None:
    write_masked(Path("data"))
    for number in range(2):
        for split in ("train", "val"):
            path = Path("data") / "masks" / split / f"{number}.png"
            Image.fromarray((np.asarray(Image.open(path)) > 0).astype(np.uint8) * 255).save(path)
    code, _, errors = vtbench("train", *FPN, "--data", "folder:data,num_classes=3")
    assert code == 2 and "values 0 and 255 alone" in errors and "label_map" in errors
    Path("data/masks/val/1.png").unlink()
    code, _, errors = vtbench("train", *FPN, "--data", "folder:data,num_classes=3")
    assert code == 2 and "no mask" in errors and "images/val/1.png" in errors
    write_masked(Path("well"))
    code, _, errors = vtbench("train", "vt_" + FPN[0], *FPN[1:], "--data", "folder:well,num_classes=3")
    assert code == 2 and "8 tokens" in errors and "num_tokens=" in errors  # 64x80: the coarsest map has 2x3 cells.
    code, _, errors = vtbench("train", *FPN, "--data", "folder:well,num_classes=3", "--recipe", "advanced")
    assert code == 2 and errors.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["data", "well"]


def test_an_output_folder_that_cannot_be_written_is_refused(vtbench) -> None:
    Path("file").write_text("in the way")
    code, _, errors = vtbench("train", "resnet20", *SMALL, "--out", "file/run")
    assert code == 2
    assert "Cannot write to the output folder file/run" in errors
    assert os.listdir() == ["file"]  # noqa: PTH208


def test_a_run_with_another_option_has_a_folder_of_its_own_and_overwrites_nothing(vtbench) -> None:
    for words in (["--epochs", "1"], ["--epochs", "1", "--lr", "0.05"], ["--epochs", "1", "--wd", "0", "-b", "20"]):
        assert vtbench("train", "resnet20:width=2", *SMALL, *words)[0] == 0
    names = sorted(path.name for path in Path("runs").iterdir())
    limits = "epochs-1-limit-train-40-limit-val-20"
    start = f"resnet20-width-2-scenes-small-{limits}"
    assert names == [
        f"{start}-batch-size-20-weight-decay-0.0-seed0",
        f"{start}-learning-rate-0.05-seed0",
        f"{start}-seed0",
    ]
    optimizers = [
        json.loads(Path("runs", name, "record.json").read_text())["config"]["recipe"]["optimizer"] for name in names
    ]
    assert [one["learning_rate"] for one in optimizers] == [0.1, 0.05, 0.1]
    assert [one["weight_decay"] for one in optimizers] == [0.0, 5e-4, 5e-4]


def test_a_folder_of_another_run_is_refused_with_the_difference(vtbench) -> None:
    assert vtbench("train", "resnet20", *SMALL, "--epochs", "1", "-o", "run")[0] == 0
    code, _, errors = vtbench("train", "resnet20", *SMALL, "--epochs", "2", "-o", "run")
    assert code == 2
    assert "recipe.epochs is 1 there and 2 here" in errors


@pytest.mark.slow
@pytest.mark.not_in_ci
def test_ctrl_c_saves_in_time_and_the_same_command_goes_on(vtbench, tmp_path: Path) -> None:
    arguments = ["train", "resnet20", *SMALL, "--epochs", "12", "--out", "run"]
    command = [sys.executable, "-m", "vtbench.cli.main", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("epoch 1/12"):
            assert process.poll() is None, process.communicate()[1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    # A run that has not saved 4 seconds after the signal ends with another message: see test_stop.py.
    assert process.returncode == 130
    assert "the state is saved in run. The same command again goes on from there." in errors
    code, _, errors = vtbench(*arguments)
    assert code == 0
    assert "Going on in epoch" in errors
    assert vtbench(*arguments, "--out", "straight")[0] == 0
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert Path("run", name).read_bytes() == Path("straight", name).read_bytes()


def test_a_run_beside_one_by_the_name_that_folders_had_before_says_how_to_go_on_there(
    vtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtbench.cli.first_checks.check_data", lambda *_, **__: None)
    monkeypatch.setattr("vtbench.cli.verb_train._train", lambda *_, **__: None)
    command = ["train", "resnet20", "--data", "folder:images/birds", "--recipe", "small", "--device", "cpu"]
    older, now = (Path("runs") / f"resnet20-folder-{name}-small-seed0" for name in ("birds", "images-birds"))
    assert "--out" not in vtbench(*command)[2]
    older.mkdir(parents=True)
    assert f"--out {older} goes on there" in " ".join(vtbench(*command)[2].split())
    assert "--out" not in vtbench(*command, "--out", "elsewhere")[2]
    now.mkdir()
    assert "--out" not in vtbench(*command)[2]
