"""``vtbench export`` as a user meets it: files that others run, the card, and mistakes."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

import vtbench.models
from vtbench.cli.main import run
from vtbench.cli.verb_export import SUFFIXES
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.datasets import load_dataset
from vtbench.export.card import StudyResult, render_card
from vtbench.export.formats import FORMATS
from vtbench.files import hash_file
from vtbench.records import RunRecord, load_record, save_record
from vtbench.records.export import ExportRecord
from vtbench.training import load_recipe, train_run
from vtbench.training.trained import load_run

SPEC = "scenes:num_train=40,num_val=20"


def train(folder: Path, variant: str, recipe: str, image_size: int = 32) -> Path:
    assert vtbench.models.MODELS
    config = RunConfig(
        variant=variant,
        data=DataConfig(spec=SPEC, image_size=image_size),
        recipe=load_recipe(recipe, epochs=1, batch_size=10),
        execution=ExecutionConfig(device="cpu", threads=1),
    )
    assert train_run(config, folder).status == "finished"
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("export") / "run", "resnet20:width=4", "small")


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", "export", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        told = capfd.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def ask_file(path: Path, images: np.ndarray) -> np.ndarray:
    if path.suffix == ".onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path.read_bytes()).run(None, {"images": images})[0]
    return torch.export.load(io.BytesIO(path.read_bytes())).module()(torch.from_numpy(images)).detach().numpy()


def check_export(folder: Path, file: Path, record: ExportRecord) -> None:
    """The file says of real images what the network says, from pixels alone."""
    data = load_dataset(DataConfig(spec=SPEC, image_size=record.image_size[0]), "val", seed=0)
    pixels = data.read(np.arange(5))
    opened = load_run(folder)
    mean, std = (np.array(part).reshape(3, 1, 1) for part in (data.mean, data.std))
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    with torch.no_grad():
        expected = opened.model(torch.from_numpy(((images - mean) / std).astype(np.float32))).numpy()
    assert np.abs(ask_file(file, np.ascontiguousarray(images)) - expected).max() < 1e-3
    assert hash_file(file) == record.file_sha256
    assert record.class_names == opened.note.class_names and record.weights_sha256 == opened.record.weights_sha256


@pytest.mark.parametrize(
    ("format", "name"), [("onnx", "model.onnx"), pytest.param("torch-export", "model.pt2", marks=pytest.mark.slow)]
)
def test_the_file_says_of_real_images_what_the_network_says(
    classifier: Path, export, format: str, name: str, tmp_path: Path
) -> None:
    for _ in range(2):  # What was exported before is replaced.
        code, said, err = export(classifier, "--format", format, "--out", tmp_path / "there" / name)
        assert code == 0, err
    assert "RGB from 0 to 1" in said and "8 validation images, in batches of 1 and 8" in said
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["README.md", name, f"{name}.json"]
    record = load_record(tmp_path / "there" / f"{name}.json", ExportRecord)
    check_export(classifier, tmp_path / "there" / name, record)
    card = ModelCard.load(tmp_path / "there" / "README.md")
    assert name in card.text and f"(1, 3, {record.image_size[0]}" in card.text


@pytest.mark.slow
@pytest.mark.not_in_ci
@pytest.mark.parametrize("variant", ["fpn_resnet18:width=4", "vt_fpn_resnet18:width=4,num_tokens=2"])
def test_segmentation_exports_with_tokens_and_without(variant: str, export, tmp_path: Path) -> None:
    folder = train(tmp_path / "run", variant, "segmentation_small", 96)
    for format, name in (("onnx", "model.onnx"), ("torch-export", "model.pt2")):
        code, said, err = export(folder, "--format", format, "--json")
        assert code == 0, err
        check_export(folder, folder / "export" / name, ExportRecord.model_validate_json(said))


def test_the_card_holds_what_the_record_says_and_is_read_back_by_the_hubs_library(classifier: Path, export) -> None:
    code, said, err = export(classifier, "--format", "card", "--json")
    assert code == 0, err
    card, record = ModelCard.load(classifier / "README.md"), load_record(classifier / "record.json", RunRecord)
    assert json.loads(said) == {"card": str(classifier / "README.md")}
    assert card.data.pipeline_tag == "image-classification" and card.data.library_name == "vtbench"
    (result,) = card.data.eval_results
    assert result.metric_type == "accuracy" and result.metric_value == pytest.approx(record.headline / 100)
    for expected in (
        record.metric.show(record.headline),
        record.weights_sha256,
        record.certificate.recipe,
        "40",
        "2.62 M",
        "triangle-cross",
        "One run of one seed",
    ):
        assert expected in card.text, expected


@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_what_the_card_says_of_loading_runs_as_it_stands(
    classifier: Path, export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    name = f"model{SUFFIXES[format]}"
    assert export(classifier, "--format", format, "--out", tmp_path / name)[0] == 0
    of_run, of_file = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    said: dict[str, Any] = {}
    monkeypatch.chdir(classifier)
    exec(of_run, said)
    assert not said["network"].training and said["expects"] == said["run"].preparation
    assert len(said["expects"]["class_names"]) == load_record(classifier / "record.json", RunRecord).num_classes
    monkeypatch.chdir(tmp_path)
    exec(of_file, said)
    assert tuple(said["scores"].shape) == (1, len(said["expects"]["class_names"]))


def test_names_in_a_card_are_text_and_paths_of_the_machine_are_not_in_it(classifier: Path) -> None:
    plain = load_record(classifier / "record.json", RunRecord)
    evil = "a|b\n---\n<script>x</script> [y](http://z)"
    config = plain.config.model_copy(update={"data": DataConfig(spec="folder:/home/somebody/secret/pictures")})
    record = plain.model_copy(update={"class_names": (evil, *plain.class_names[1:]), "config": config})
    study = StudyResult("mine", evil, (50.0, 52.0, 54.0))
    text = render_card(record, study)
    assert "<script>" not in text and "](http" not in text and "/home/somebody" not in text
    assert "folder:PATH/pictures" in text
    assert "52.0 ± 5.0 %" in text and "Over 3 seeds" in text
    card = ModelCard(text)
    assert card.data.model_name == record.variant and card.text.count("\n---\n") == 0


def test_a_card_shows_what_a_run_is_without_the_settings_of_its_arm_where_that_is_another(classifier: Path) -> None:
    plain = load_record(classifier / "record.json", RunRecord)
    assert plain.certificate is not None
    shared = plain.certificate.model_copy(update={"recipe": "ab" * 32})
    own = plain.certificate.model_copy(update={"untreated": shared})
    lines = render_card(plain.model_copy(update={"certificate": own}), None).splitlines()
    rows = [line for line in lines if "without the settings" in line]
    assert len(rows) == 1 and rows[0].startswith("| recipe, without") and "ab" * 32 in rows[0]
    assert not any("untreated" in line or "{'" in line for line in lines)


def test_a_card_says_what_was_not_trained_and_how_much_of_the_masks_is_void(classifier: Path) -> None:
    plain = load_record(classifier / "record.json", RunRecord)
    recipe = plain.config.recipe.model_copy(update={"freeze": ("layer1.*", "stem.*")})
    values = {"loss": 1.0, "miou_percent": 30.0, "void_percent": 4.5678}
    record = plain.model_copy(
        update={
            "config": plain.config.model_copy(update={"recipe": recipe}),
            "task": "segmentation",
            "outcome": values,
        }
    )
    lines = [line.replace(" ", "") for line in render_card(record, None).splitlines()]
    assert "|nottrained|layer1.*,stem.*|" in lines
    assert "|pixelsofnoclass(void),whichcountnowhere|4.57%|" in lines


@pytest.mark.slow
def test_two_formats_of_one_name_stand_beside_each_other_and_those_of_another_run_are_not_replaced(
    classifier: Path, export, tmp_path: Path
) -> None:
    for format, name in ("onnx", "net.onnx"), ("torch-export", "net.pt2"):
        code, _, err = export(classifier, "--format", format, "--out", tmp_path / name)
        assert code == 0, err
    there = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(there) == ["README.md", "net.onnx", "net.onnx.json", "net.pt2", "net.pt2.json"]
    assert b"`net.onnx`" in there["README.md"] and b"`net.pt2`" in there["README.md"]
    assert export(classifier, "--format", "card", "--out", tmp_path / "README.md")[0] == 0
    assert (tmp_path / "README.md").read_text().count("`net.") == 2
    code, _, err = export(classifier, "--format", "torch-export", "--out", tmp_path / "net.onnx")
    assert code == 2 and f"ends in .pt2. Write {tmp_path}/net.pt2." in err
    note = load_record(tmp_path / "net.onnx.json", ExportRecord)
    save_record(tmp_path / "net.onnx.json", note.model_copy(update={"weights_sha256": "0" * 64}))
    code, _, err = export(classifier, "--out", tmp_path / "net.onnx")
    assert code == 2 and "is not of this run as onnx: it would be replaced. Give another --out, or --overwrite." in err
    (tmp_path / "README.md").write_text("library_name: vtbench")
    code, _, err = export(classifier, "--format", "card", "--out", tmp_path / "README.md")
    assert code == 2 and "is the model card of another run" in err
    assert export(classifier, "--out", tmp_path / "net.onnx", "--overwrite")[0] == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == there


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}", "--format", "onx"], "Did you mean 'onnx'"),
        (["{empty}"], "no finished run"),
        (["{run}", "--format", "card", "--data", "scenes"], "Leave --data out"),
        (["{run}", "--data", "folder:nowhere"], "nowhere"),
        (["{run}", "--out", "{empty}/model.onnx"], "no model card of vtbench"),
        (["{run}", "--out", "{empty}"], "no name for the file"),
        (["{run}", "--out", "model.pt"], "ends in .onnx. Write model.onnx."),
        (["{run}", "--format", "card", "--out", "card"], "ends in .md. Write card/README.md."),
        (["{run}", "--out", "-"], "no files are written to standard output"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_replaced(
    classifier: Path, export, tmp_path: Path, words: list[str], told: str
) -> None:
    (tmp_path / "README.md").write_text("mine")
    code, _, err = export(*(word.format(run=classifier, empty=tmp_path) for word in words))
    assert code == 2 and told in err and "Traceback" not in err
    assert (tmp_path / "README.md").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_the_verb_knows_how_names_of_every_format_end() -> None:
    assert {name: FORMATS[name].suffix for name in FORMATS} | {"card": ".md"} == SUFFIXES
