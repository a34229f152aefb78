"""``vtbench predict`` as a user meets it: runs that were trained for a moment, images of any kind, and mistakes."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

import vtbench.models
from vtbench.cli.main import run
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.datasets import load_dataset
from vtbench.palettes import VOID_COLOUR
from vtbench.records import RunRecord
from vtbench.training import load_recipe, train_run

SIZES = ((40, 60), (41, 61), (60, 40), (30, 90))
KNOBS = {"object": "label_map=0:0+255:1", "reduced": "classes=classes.toml"}
CLASSES = """
names = ["wall", "floor", "lamp"]
palette = [[120, 120, 121], [80, 50, 50], [0, 92, 255]]
reduce_zero_label = true
"""
VALUES = {"object": (0, 255), "reduced": (1, 2, 3)}


def write_data(folder: Path, values: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    folder.mkdir()
    (folder / "classes.toml").write_text(CLASSES if values[0] else 'names = ["nothing", "object"]')
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for number, (height, width) in enumerate(SIZES):
            classes = np.zeros((height, width), np.int64)
            for value in range(1, len(values)):
                top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
                classes[top : top + height // 2, left : left + width // 2] = value
            shade = 90 * classes[..., None] + rng.integers(0, 60, (height, width, 3))
            Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(folder / f"images/{split}/{number}.png")
            mask = np.asarray(values, np.uint8)[classes]
            if values[0] == 1:
                mask[:4] = 0  # Void.
            Image.fromarray(mask).save(folder / f"masks/{split}/{number}.png")


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def train(folder: Path, variant: str, spec: str, *, recipe: str, image_size: int, **settings: object) -> RunRecord:
    assert vtbench.models.MODELS
    wanted = load_recipe(recipe, epochs=1, batch_size=4).model_copy(update=settings)
    execution = ExecutionConfig(device="cpu", threads=1)
    data = DataConfig(spec=spec, image_size=image_size)
    record = train_run(RunConfig(variant=variant, data=data, recipe=wanted, execution=execution), folder)
    assert record.status == "finished", record.error
    return record


@pytest.fixture(scope="module", params=["object", "reduced"])
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A run, its data, and what its masks hold: one object predicted whole, or three classes and void by windows."""
    folder = tmp_path_factory.mktemp(request.param)
    write_data(folder / "data", VALUES[request.param])
    settings = {} if request.param == "object" else {"window": (24, 24), "stride": (16, 16)}
    spec = f"folder:{folder / 'data'},{KNOBS[request.param]}"
    variant = "vt_fpn_resnet18:width=4,num_tokens=2"
    train(folder / "run", variant, spec, recipe="segmentation_small", image_size=33, **settings)
    return folder / "run", folder / "data", request.param


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "run"
    train(folder, "resnet20:width=4", "scenes:num_train=40,num_val=20", recipe="small", image_size=16)
    return folder


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Call the verb in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", "predict", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


def test_masks_of_validation_images_score_as_validation_did_and_hold_the_values_of_the_data(predict, segmenter) -> None:
    folder, data, kind = segmenter
    code, _, errors = predict(folder, "--image", data / "images/val", "--out", "o")
    assert code == 0
    assert errors.endswith("Predictions: o (4 PNGs each in masks/ and overlays/, predictions.csv, predictions.json)\n")
    right = counted = 0
    seen: set[int] = set()
    for number, size in enumerate(SIZES):
        truth = read_png(data / f"masks/val/{number}.png")
        with Image.open(f"o/masks/{number}.png") as image:
            assert (image.mode, image.size) == ("P", size[::-1])
            found = np.asarray(image)
        seen |= set(np.unique(found).tolist())
        counts = np.isin(truth, VALUES[kind])
        right, counted = right + int((found == truth)[counts].sum()), counted + int(counts.sum())
    assert len(seen) > 1 and seen <= set(VALUES[kind])
    record = json.loads((folder / "record.json").read_text())
    assert 100 * right / counted == pytest.approx(record["outcome"]["pixel_accuracy_percent"], abs=1e-9)


def test_predictions_read_as_masks_of_the_data_set_are_the_classes_that_were_predicted(predict, segmenter) -> None:
    folder, data, kind = segmenter
    predict(folder, "--image", data / "images/val", "--out", "o")
    again = Path("again")
    again.mkdir()
    shutil.copy(data / "classes.toml", again)
    for split in ("train", "val"):
        shutil.copytree(data / "images" / split, again / "images" / split)
        shutil.copytree("o/masks", again / "masks" / split)
    read = load_dataset(DataConfig(spec=f"folder:{again},{KNOBS[kind]}", image_size=33), "val", seed=0)
    said = json.loads(Path("o/predictions.json").read_text())["images"]
    names = read.mask_class_names
    for image, mask in zip(said, read.read_original_masks(np.arange(4)), strict=True):
        counts = np.bincount(mask[mask != 255], minlength=len(names))
        assert {part["name"]: part["pixels"] for part in image["pixels"]} == {
            name: count for name, count in zip(names, counts.tolist(), strict=True) if count
        }


@pytest.mark.slow
def test_images_of_any_kind_and_size_get_masks_of_their_own_size_without_the_data(predict, segmenter) -> None:
    folder, data, _ = segmenter
    hidden = data.rename(data.with_name("away"))
    try:
        noise = np.random.default_rng(0).integers(0, 256, (119, 120, 4), np.uint8)
        Path("photos/inner").mkdir(parents=True)
        Image.fromarray(noise).save("photos/rgba.png")
        Image.fromarray(noise[..., 0]).save("photos/inner/grey.png")
        Image.fromarray(noise[..., :3]).convert("CMYK").save("photos/inner/cmyk.jpg")
        Image.fromarray(noise[:9, :200, :3]).save("photos/inner/grey.bmp")
        Path("photos/notes.txt").write_text("of whom?")
        code, _, errors = predict(folder, "--image", "photos", "photos/rgba.png")
    finally:
        hidden.rename(data)
    assert code == 0
    assert errors.startswith("Left out, because its name is not that of an image: photos/notes.txt\nPredictions: ")
    out = folder / "predictions"
    sizes = {path.relative_to(out / "masks").as_posix(): read_png(path).shape for path in out.rglob("masks/**/*.png")}
    assert sizes == {
        "rgba.png": (119, 120),
        "inner/grey.png": (9, 120),
        "inner/grey-2.png": (119, 120),
        "inner/cmyk.png": (119, 120),
    }
    assert {path.name for path in out.rglob("overlays/**/*.png")} == {Path(name).name for name in sizes}
    shutil.rmtree(out)


def test_the_palette_shows_each_value_in_the_colour_that_reports_use(predict, segmenter) -> None:
    folder, data, kind = segmenter
    _, _, errors = predict(folder, "--image", data / "images/val/0.png", "--out", "o")
    assert "(1 PNG each in masks/ and overlays/, " in errors
    palette = RunRecord.model_validate_json((folder / "record.json").read_bytes()).palette
    with Image.open("o/masks/0.png") as image:
        colours, values = np.asarray(image.convert("RGB")), np.asarray(image)
    wanted = np.zeros((256, 3), np.uint8)
    wanted[list(VALUES[kind])] = palette
    assert (colours == wanted[values]).all()
    if kind == "reduced":
        assert palette == ((120, 120, 121), (80, 50, 50), (0, 92, 255))
    with ZipFile(folder / "examples.zip") as archive:
        name = next(name for name in archive.namelist() if "prediction" in name)
        shown = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
    assert {colour for _, colour in shown.getcolors() or ()} <= {*palette, VOID_COLOUR}


def test_the_most_probable_classes_of_an_image_are_those_that_validation_counts(predict, classifier) -> None:
    data = load_dataset(DataConfig(spec="scenes:num_train=40,num_val=20", image_size=16), "val", seed=0)
    for number, pixels in enumerate(data.read(np.arange(20))):
        Image.fromarray(pixels).save(f"{number:02}.png")
    images = sorted(Path().glob("*.png"))
    code, output, errors = predict(classifier, "--image", *images, "--format", "json", "--top", "3")
    assert (code, errors) == (0, "")
    said = json.loads(output)["images"]
    right = sum(
        image["probabilities"][0]["name"] == data.class_names[label]
        for image, label in zip(said, data.labels, strict=True)
    )
    assert 5 * right == json.loads((classifier / "record.json").read_text())["outcome"]["top1_percent"]
    guesses = [guess["probability"] for guess in said[0]["probabilities"]]
    assert len(guesses) == 3 and guesses == sorted(guesses, reverse=True) and 0 < sum(guesses) < 1
    assert sorted(path.name for path in Path().iterdir()) == [image.name for image in images], "nothing is written"


def test_probabilities_of_all_classes_sum_to_one_in_every_format(predict, classifier) -> None:
    Image.new("RGB", (50, 20)).save("a.png")
    code, output, errors = predict(classifier, "--image", "a.png", "--format", "csv", "--top", "99", "--out", "o")
    assert (code, errors) == (0, "Predictions: o (predictions.csv, predictions.json)\n")
    assert output == Path("o/predictions.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [int(row["rank"]) for row in rows] == list(range(1, 11))
    assert sum(float(row["probability"]) for row in rows) == pytest.approx(1)
    _, table, _ = predict(classifier, "--image", "a.png", "--top", "1")
    assert table.splitlines()[-1].split() == ["a.png", rows[0]["class"], f"{float(rows[0]['probability']):.4f}"]


def test_predictions_are_replaced_only_when_that_is_asked_for(predict, classifier) -> None:
    Image.new("RGB", (20, 20)).save("a.png")
    Image.new("RGB", (20, 20), "red").save("b.png")
    predict(classifier, "--image", "a.png", "--out", "o")
    before = Path("o/predictions.json").read_bytes()
    code, _, errors = predict(classifier, "--image", "b.png", "--out", "o")
    assert code == 2
    assert "o holds predictions already: 2 files would be replaced, the first predictions.csv." in errors
    assert Path("o/predictions.json").read_bytes() == before
    assert predict(classifier, "--image", "b.png", "--out", "o", "--overwrite")[0] == 0
    assert Path("o/predictions.json").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}"], "Which images?"),
        (["nowhere", "--image", "a.png"], "There is no finished run in nowhere"),
        (["begun", "--image", "a.png"], "no finished run in begun. One was begun there"),
        (["failed", "--image", "a.png"], "The run in failed failed: Loss is NaN."),
        (["lost", "--image", "a.png"], "has finished, but its weights (weights.safetensors) are gone"),
        (["flipped", "--image", "a.png"], "weights.safetensors are not those of its record"),
        (["{run}", "--image", "a.png", "missing.png"], "There is no image or folder missing.png"),
        (["{run}", "--image", "text.png"], "The image text.png cannot be read: it is not in any image format"),
        (["{run}", "--image", "a.png", "torn.png"], "The image torn.png is corrupt"),
        (["{run}", "--image", "empty"], "The folder empty holds no image"),
        (["{run}", "--image", "a.png", "--out", "text.png"], "Cannot write to the output folder text.png"),
        (["{run}", "--image", "a.png", "--device", "abacus"], "There is no device named 'abacus'"),
        (["{run}", "--image", "a.png", "--top", "0"], "--top"),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(predict, classifier, arguments, message) -> None:
    record = json.loads((classifier / "record.json").read_text())
    weights = bytearray((classifier / "weights.safetensors").read_bytes())
    weights[-2] ^= 1
    for name in ("begun", "failed", "lost", "flipped", "empty"):
        Path(name).mkdir()
    shutil.copy(classifier / "config.json", "begun")
    Path("failed/record.json").write_text(json.dumps(record | {"status": "failed", "error": "Loss is NaN."}))
    for name in ("lost", "flipped"):
        shutil.copy(classifier / "record.json", name)
    Path("flipped/weights.safetensors").write_bytes(weights)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save("a.png")
    Path("torn.png").write_bytes(Path("a.png").read_bytes()[:2000])
    Path("text.png").write_text("no image")
    before = sorted(Path().rglob("*"))
    arguments = [argument.replace("{run}", str(classifier)) for argument in arguments]
    code, output, errors = predict(*arguments, *([] if "--out" in arguments else ["--out", "o"]))
    assert (code, output) == (2, "")
    assert message in errors
    assert [path for path in sorted(Path().rglob("*")) if path.name != "o"] == before
    assert not list(Path().rglob("o/**/*"))


def test_an_image_of_12_bits_is_not_taken_for_a_dark_one_of_16(predict, classifier) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    Image.fromarray(values).save("deep.png")
    Image.fromarray((values // 16).astype(np.uint8)).save("grey.png")
    code, output, errors = predict(classifier, "--image", "deep.png", "--out", "o")
    assert (code, output, Path("o").exists()) == (2, "", False)
    assert "no pixel of them is above" in errors
    assert "Name it with --white NUMBER, such as 4095, or 65535 if they are so dark." in " ".join(errors.split())
    said = []
    for arguments in (["deep.png", "--white", "4095"], ["grey.png"]):
        code, output, errors = predict(classifier, "--image", *arguments, "--format", "csv", "--top", "1")
        assert code == 0, errors
        said.append(next(csv.DictReader(io.StringIO(output))))
    assert said[0]["class"] == said[1]["class"]
    assert float(said[0]["probability"]) == pytest.approx(float(said[1]["probability"]), abs=0.02)
