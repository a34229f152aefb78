"""``vtbench tokens`` as a user meets it: a run that was trained for a moment, image files, masks, and mistakes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import vtbench.models
from vtbench.cli.main import run
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.reporting.terminal import _explain_heads
from vtbench.training import load_recipe, train_run

TINY = "vt_resnet20:width=8,num_tokens=4"
MODEL = ["--model", TINY, "--image-size", "16"]
ONE = ["--module", "0"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert vtbench.models.MODELS
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = RunConfig(
        variant=TINY,
        data=DataConfig(spec="scenes:num_train=40,num_val=20", image_size=16),
        recipe=load_recipe("small", epochs=1),
        execution=ExecutionConfig(device="cpu", threads=1),
    )
    assert train_run(config, folder).status == "finished"
    return folder


@pytest.fixture
def vtbench_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Call the verb in a folder with two photographs and a mask; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vtbench.reporting.token_report._DPI", 30)  # Large figures take their time.
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("a.png")
    Image.fromarray(noise[::-1]).save("b.jpg")
    front = np.zeros((24, 40), np.uint8)
    front[:, 20:] = 7
    Image.fromarray(front).save("mask.png")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", "tokens", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


def test_a_run_gives_numbers_maps_and_figures_of_its_own_images_with_their_masks(vtbench_tokens, finished_run) -> None:
    code, output, errors = vtbench_tokens(str(finished_run), "--index", "3", "5", *ONE, "--device", "cpu", "--out", "o")
    assert code == 0
    assert errors == "Tokens: o (tokens.json, tokens.csv, maps.safetensors and 5 figures as PNG and SVG)\n"
    assert "\x1b" not in output
    assert "channel means and deviations of the run's training images, scenes:num_train=40,num_val=20" in output
    record = json.loads(Path("o/tokens.json").read_text())
    assert record["preparation"]["image_size"] == [16, 16]
    assert record["weights_sha256"] == json.loads((finished_run / "record.json").read_text())["weights_sha256"]
    assert [image["name"] for image in record["images"]] == [f"scenes:num_train=40,num_val=20 val {n}" for n in (3, 5)]
    module = record["images"][1]["modules"][0]
    arrays = load_file("o/maps.safetensors")
    attention = arrays["image1.module0.attention_LHW"]
    assert attention.shape == (4, *module["map_size"])
    entropy = -(attention * np.log(attention)).sum(axis=(1, 2))
    assert [token["entropy_nats"] for token in module["tokens"]] == pytest.approx(entropy.tolist())
    assert module["uniform_entropy_nats"] == pytest.approx(np.log(attention[0].size))
    assert module["foreground"]["ratio"] > 0
    with Path("o/tokens.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["module"], row["token"]) for row in rows] == [("0", str(token)) for token in range(4)] * 2
    assert float(rows[5]["foreground_ratio"]) == pytest.approx(module["tokens"][1]["foreground"]["ratio"])
    names = {path.name for path in Path("o").glob("*.png")}
    assert len(names) == 5
    assert "overview-module0.png" in names
    for name in names:
        with Image.open(f"o/{name}") as figure:
            assert figure.size == (400, 225)
        assert Path(f"o/{name}").with_suffix(".svg").read_text().startswith("<?xml")


def test_an_untrained_model_looks_at_image_files_held_against_masks(vtbench_tokens) -> None:
    files = ["--image", "a.png", "--mask", "mask.png", "--foreground", "7"]
    code, output, errors = vtbench_tokens(*MODEL, *files, *ONE, "--json", "--out", "o")
    assert code == 0
    assert errors == "Tokens: o (tokens.json, tokens.csv, maps.safetensors and 2 figures as PNG and SVG)\n"
    _, _, errors = vtbench_tokens(*MODEL, *files[:-1], "8", *ONE, "--json", "--out", "p")
    assert errors.startswith("vtbench: --foreground 8: no mask of these images has it, which have ")
    record = json.loads(output)
    assert (record["weights"], record["weights_sha256"]) == ("untrained", None)
    assert record["preparation"]["normalization"] == "channel means and deviations of ImageNet"
    assert record["images"][0]["original_size"] == [24, 40]
    assert record["images"][0]["modules"][0]["foreground"]["area_percent"] == 50


NETWORK = """
from torch import nn
def build(num_classes):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2))
    class Turn(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)
    return nn.Sequential(patches, Turn(), layer, nn.Flatten(), nn.Linear(128, num_classes))
"""


def test_attention_of_a_users_own_network_is_shown_block_by_block_and_head_by_head(vtbench_tokens) -> None:
    Path("mine.py").write_text(NETWORK)
    code, output, errors = vtbench_tokens(
        "--model", "mine.py:build", "--image-size", "16", "--image", "a.png", "--head", "1", "0", "--out", "o"
    )
    assert code == 0
    assert errors == "Tokens: o (tokens.json, tokens.csv, maps.safetensors and 1 figure as PNG and SVG)\n"
    assert "0 2.self_attn" in output and "look of all places; head 1, head 0" in output and "reach" not in output
    (module,) = json.loads(Path("o/tokens.json").read_text())["images"][0]["modules"]
    assert (module["layer"], module["rows"], module["map_size"]) == ("2.self_attn", ["head 1", "head 0"], [4, 4])
    assert [path.name for path in Path("o").glob("*.png")] == ["0-a-module0-attention.png"]
    vtbench_tokens(
        "--model", "mine.py:build", "--image-size", "16", "--image", "b.jpg", "--head", "1", "0", "--out", "o"
    )
    assert [path.name for path in Path("o").glob("*.png")] == ["0-b-module0-attention.png"], "those of a are no more"
    vtbench_tokens(
        "--model", "mine.py:build", "--image-size", "16", "--image", "a.png", "--head", "1", "0", "--out", "o"
    )
    with Path("o/tokens.csv").open() as stream:
        assert [row["token"] for row in csv.DictReader(stream)] == ["head 1", "head 0"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("mean of 3 heads",)], "and one map is shown: --head 0 1 shows and compares two."),
        ([("head 0",)], "and one map is shown: of networks with more --head 0 1 shows and compares two."),
        ([("mean of 1 head",)], "and not every module has two."),
        ([("mean of 1 head",), ("mean of 3 heads",)], "and not every module has two."),
        ([("head 0", "head 1")], "JSD and peaks: how far heads differ."),
    ],
)
def test_what_compares_heads_is_explained_by_whether_several_are_shown_or_can_be(
    rows: list[tuple[str, ...]], says: str
) -> None:
    modules = [SimpleNamespace(tokenizer="class token", rows=one) for one in rows]
    assert list(_explain_heads(modules))[-1].endswith(says)  # type: ignore[arg-type]


def test_of_a_network_with_one_head_no_comparison_of_two_is_advised(vtbench_tokens) -> None:
    Path("one.py").write_text(NETWORK.replace("TransformerEncoderLayer(8, 2,", "TransformerEncoderLayer(8, 1,"))
    asked = ("--model", "one.py:build", "--image-size", "16", "--image", "a.png", "--out", "o")
    code, output, _ = vtbench_tokens(*asked)
    assert code == 0 and "mean of 1 head. " in output and "--head 0 1" not in output
    code, output, errors = vtbench_tokens(*asked, "--head", "0", "1", "--overwrite")
    assert code == 2 and "There is no head 1" in errors


def test_without_mixing_there_is_no_figure_of_reach_and_the_output_says_why(vtbench_tokens) -> None:
    code, output, _ = vtbench_tokens(
        "--model", f"{TINY},relations=none", "--image-size", "16", "--image", "a.png", *ONE
    )
    assert code == 0
    assert "No reach: The relation is none: tokens are not mixed." in output
    (folder,) = Path("runs").iterdir()
    assert sorted(path.name for path in folder.glob("*.png")) == ["0-a-module0-attention.png"]


def test_figures_of_a_call_before_go_and_what_is_of_other_weights_stays(vtbench_tokens, finished_run) -> None:
    run = (str(finished_run), "--device", "cpu", *ONE, "--out", "o")
    assert vtbench_tokens(*run, "--image", "a.png", "b.jpg")[0] == 0
    assert Path("o/1-b-module0-attention.png").is_file()
    assert vtbench_tokens(*run, "--image", "a.png")[0] == 0
    assert not Path("o/1-b-module0-attention.png").exists()
    untrained = ("--model", TINY, "--image", "a.png", "--image-size", "16", "--out", "o")
    code, _, errors = vtbench_tokens(*untrained)
    assert code == 2
    assert "o/tokens.json is there already and is not of vt_resnet20" in errors
    assert vtbench_tokens(*untrained, "--overwrite")[0] == 0


def test_a_list_option_takes_every_value_that_follows_but_needs_one(vtbench_tokens) -> None:
    code, _, errors = vtbench_tokens(*MODEL, "--image", "a.png", "b.jpg", "missing.png")
    assert (code, "missing.png cannot be read" in errors) == (2, True)
    for rest in (["--out", "o"], []):
        code, _, errors = vtbench_tokens(*MODEL, "--image", *rest)
        assert (code, "--image needs one value or more." in errors) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image", "a.png"], "either the folder of a finished run, or --model"),
        (["nowhere", "--image", "a.png"], "There is no finished run in nowhere"),
        (MODEL, "Which images?"),
        ([*MODEL, "--index", "0"], "--index needs --data"),
        ([*MODEL, "--data", "scenes:num_val=20", "--index", "20"], "There is no image 20"),
        ([*MODEL, "--data", "scenes", "--index", "0", "--mask", "mask.png"], "--mask has no effect without --image"),
        (["--model", "resnet20", "--image", "a.png"], "no visual tokens and no attention"),
        ([*MODEL, "--image", "a.png", "--head", "0"], "--head and --look are of networks without visual tokens"),
        (["--model", "vt_resnet20:tokenizer=pooling", "--image", "a.png"], "no spatial attention"),
        (["--model", "vt_resnt20", "--image", "a.png"], "Did you mean 'vt_resnet20'"),
        ([*MODEL, "--image", "a.png", "--module", "2"], "There is no module 2"),
        ([*MODEL, "--image", "a.png", "--module", "0", "-1"], "--module was given '-1': allowed: "),
        ([*MODEL, "--image", "a.png", "text.png"], "text.png cannot be read"),
        ([*MODEL, "--image", "a.png", "--mask", "b.jpg"], "is a JPEG, whose compression changes the values"),
        ([*MODEL, "--image", "a.png", "--mask", "small.png"], "Give a mask of the image's own size"),
        ([*MODEL, "--image", "a.png", "b.jpg", "--mask", "mask.png"], "one mask for each image"),
        ([*MODEL, "--image", "a.png", "--out", "text.png/o"], "Cannot write to the output folder text.png/o"),
        ([*MODEL, "--image", "a.png", "--image-size", "big"], "The image size 'big' is not a size"),
    ],
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_bad_input_is_one_message_exit_2_and_nothing_written(vtbench_tokens, arguments, message) -> None:
    Path("text.png").write_text("no image")
    Image.new("L", (8, 8)).save("small.png")
    before = sorted(Path().iterdir())
    code, output, errors = vtbench_tokens(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("vtbench: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_a_run_whose_record_says_that_it_failed_is_refused(vtbench_tokens, finished_run) -> None:
    record = json.loads((finished_run / "record.json").read_text())
    Path("failed").mkdir()
    Path("failed/record.json").write_text(json.dumps(record | {"status": "failed", "error": "Loss is NaN."}))
    code, _, errors = vtbench_tokens("failed", "--image", "a.png")
    assert (code, "The run in failed failed: Loss is NaN." in errors) == (2, True)
