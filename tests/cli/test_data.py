"""``vtbench data`` as a user meets it: a data set looked at, its sheets, and mistakes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtbench.cli.main import run
from vtbench.palettes import make_palette
from vtbench.records.data import DataRecord
from vtbench.reporting.contact_figure import overlay_mask, paint_mask
from vtbench.reporting.data_report import list_notes

SCENES = "scenes:num_train=20,num_val=10"


@pytest.fixture
def vtbench_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*words: str) -> tuple[str, str, int]:
        monkeypatch.setattr(sys, "argv", ["vtbench", "data", *words])
        with pytest.raises(SystemExit) as left:
            run()
        printed = capsys.readouterr()
        return printed.out, printed.err, int(left.value.code or 0)

    return call


def test_the_table_fits_80_columns_and_names_tasks_splits_classes_and_channels(
    vtbench_data, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _, code = vtbench_data(SCENES)
    assert code == 0
    assert max(map(len, text.splitlines())) <= 100, "into a pipe a note stands on one line"
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines() if not line.startswith("- "))
    for word in ("classification, segmentation", "mean", "deviation", "disc-disc", "background", "train content"):
        assert word in text
    assert "No image stands in the data twice" in text


def test_the_formats_for_machines_hold_every_class(vtbench_data) -> None:
    record = json.loads(vtbench_data(SCENES, "--format", "json")[0])
    assert [split["num_images"] for split in record["splits"]] == [20, 10]
    assert len(record["classes"]) == 10
    rows = list(csv.DictReader(io.StringIO(vtbench_data(SCENES, "--format", "csv")[0])))
    assert [row["of"] for row in rows] == ["images"] * 10 + ["pixels"] * 5
    assert "| class " in vtbench_data(SCENES, "--format", "markdown")[0]


def test_what_is_measured_on_a_part_of_the_images_is_said_to_be(vtbench_data) -> None:
    record = DataRecord.model_validate_json(vtbench_data(SCENES, "--format", "json")[0])
    large = [split.model_copy(update={"num_images": 50_000}) for split in record.splits]
    notes = list_notes(record.model_copy(update={"splits": tuple(large)}))
    assert "Sizes, kinds, mean and deviation are those of 20 of the 50,000 training images, spread evenly." in notes
    assert "Sizes and kinds are those of 10 of the 50,000 validation images, spread evenly." in notes
    assert not any("spread evenly" in note for note in list_notes(record))


def test_sheets_are_written_with_the_numbers_and_come_out_the_same_again(vtbench_data, tmp_path: Path) -> None:
    words = (SCENES, "--recipe", "segmentation_small", "--draws", "2", "--out")
    _, said, code = vtbench_data(*words, str(tmp_path / "a"), "--format", "json")
    assert code == 0
    assert f"Data: {tmp_path / 'a'}" in said
    vtbench_data(*words, str(tmp_path / "b"), "--format", "json")
    _, said, code = vtbench_data("scenes:num_train=30,num_val=10", "--out", str(tmp_path / "a"))
    assert code == 2
    assert "data.json is there already and is not of scenes:num_train=30,num_val=10" in said
    names = {path.name for path in (tmp_path / "a").iterdir()}
    figures = {f"{name}.{kind}" for name in ("train", "val", "augmentation") for kind in ("png", "svg")}
    assert names == {"data.json", "data.md", "classes.csv", *figures}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    with Image.open(tmp_path / "a" / "train.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sceens",), "There is no data set named 'sceens'. Did you mean 'scenes'?"),
        (("scenes:cluter=3",), "unknown knob 'cluter'"),
        (("folder:/nowhere/at/all",), "There is no file or folder"),
        ((SCENES, "--recipe", "small"), "--recipe has no effect without --out"),
        ((SCENES, "--out", "there", "--recipe", "smal"), "There is no recipe named 'smal'"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    vtbench_data, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, said, code = vtbench_data(*words)
    assert (text, code) == ("", 2)
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.*"))


def test_a_data_set_is_looked_at_without_torch() -> None:
    code = (
        "import sys; from vtbench.cli.verb_data import run_data\n"
        f"run_data({SCENES!r}, None, None, None, None, 6, 0, 'csv'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_a_painted_mask_has_the_colours_of_its_classes_and_void_is_white() -> None:
    palette = make_palette(["background", "disc", "square"])
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    painted = paint_mask(mask, palette)
    assert [tuple(colour) for colour in painted.reshape(-1, 3).tolist()] == [*palette, (255, 255, 255)]
    black = np.zeros((2, 2, 3), np.uint8)
    assert np.array_equal(overlay_mask(black, mask, palette), (0.6 * painted).round().astype(np.uint8))


def write_classes(root: Path, sizes: list[tuple[int, int]]) -> Path:
    """Two classes of two images of each of ``sizes`` (width, height) a split."""
    draws = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number, (width, height) in enumerate(sizes * 2):
                pixels = draws.integers(0, 256, (height, width, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([(16, 16)], "16x16 pixels, RGB: as they are"),
        ([(32, 32)], "16x16 pixels, RGB: scaled, nothing is cut"),
        ([(32, 32), (40, 20)], "16x16 pixels, RGB: scaled so that the shorter side fits, then cut at the centre"),
    ],
)
def test_it_says_what_becomes_of_images_of_another_size(
    vtbench_data, tmp_path: Path, sizes: list[tuple[int, int]], told: str
) -> None:
    text, said, code = vtbench_data(f"folder:{write_classes(tmp_path, sizes)}", "--image-size", "16")
    assert code == 0, said
    assert told in " ".join(text.split())
