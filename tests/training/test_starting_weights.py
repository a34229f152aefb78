"""A network starts from other weights whole or not at all, and what these hold identifies them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from test_resume import KillAtLook, Killed, Messages
from tiny_parts import TinyNet, digest_run, tiny_config
from torch import Tensor, nn

import vtbench.models  # noqa: F401
from vtbench.configuration import InitConfig, RunConfig
from vtbench.errors import UserError
from vtbench.records import Certificate, RunRecord, StartRecord, load_record
from vtbench.training import train_run
from vtbench.training.network import initialize_by_name
from vtbench.training.starting_weights import Fit, Source, fit_weights, open_source, put_weights
from vtbench.variants import create_model

NAMES = ("sky", "road", "car")
SIZE = (64, 64)


def build(variant: str, num_classes: int = 3, seed: int = 0) -> nn.Module:
    model = create_model(variant, num_classes=num_classes, image_size=SIZE)
    initialize_by_name(model, seed)
    return model


def source_of(model: nn.Module, class_names: tuple[str, ...] = ()) -> Source:
    return Source("file.pt", model.state_dict(), "0" * 64, class_names=class_names)


def start(variant: str, source: Source) -> tuple[nn.Module, Fit]:
    model = build(variant)
    fit = fit_weights(model, source, variant, class_names=NAMES, image_size=SIZE)
    put_weights(model, source, fit)
    return model, fit


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("neck", ["fpn", "vt_fpn"])
def test_a_segmentation_network_takes_the_whole_trunk_of_a_classification_network(
    neck: str, depth: int, width: int
) -> None:
    options = f"width={width}" + (",num_tokens=4" if neck == "vt_fpn" else "")
    theirs = build(f"resnet{depth}:width={width}", num_classes=7, seed=1)
    model, fit = start(f"{neck}_resnet{depth}:{options}", source_of(theirs))
    fresh = build(f"{neck}_resnet{depth}:{options}").state_dict()
    mapping = {name: name for name in theirs.state_dict() if not name.startswith("fc.")}
    assert fit.left_out == ("fc.weight", "fc.bias")
    assert set(fit.taken) == set(mapping)
    for name, value in model.state_dict().items():
        expected = theirs.state_dict()[mapping[name]] if name in mapping else fresh[name]
        assert torch.equal(value, expected), name
        assert (name in mapping) == (not name.startswith(("neck.", "semantic_head.")))


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_torchvisions_networks_have_the_same_names(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"resnet{depth}")()
        model = create_model(f"resnet{depth}", num_classes=3, image_size=SIZE)
        segmenter = create_model(f"fpn_resnet{depth}", num_classes=3, image_size=SIZE)
    fit = fit_weights(model, source_of(theirs), f"resnet{depth}", class_names=NAMES, image_size=SIZE)
    assert fit.from_seed == fit.left_out == ("fc.weight", "fc.bias")
    fit = fit_weights(segmenter, source_of(theirs), f"fpn_resnet{depth}", class_names=NAMES, image_size=SIZE)
    assert len(fit.taken) == len(theirs.state_dict()) - 2


def test_timms_networks_have_the_same_names() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("resnet18", num_classes=3)
    model, fit = start("resnet18", source_of(theirs))
    assert not fit.from_seed and not fit.left_out
    assert torch.equal(model.get_parameter("layer4.1.bn2.weight"), theirs.layer4[1].bn2.weight)


@pytest.mark.parametrize(
    ("num_classes", "class_names", "is_taken"),
    [(3, (), True), (3, NAMES, True), (3, ("a", "b", "c"), False), (5, (), False)],
    ids=["as many", "the same", "others", "more"],
)
@pytest.mark.parametrize("variant", ["resnet20:width=4", "fpn_resnet18:width=8"])
def test_the_head_is_taken_where_the_classes_are_the_same(
    variant: str, num_classes: int, class_names: tuple[str, ...], is_taken: bool
) -> None:
    _, fit = start(variant, source_of(build(variant, num_classes, seed=1), class_names))
    head = (
        ("fc.weight", "fc.bias")
        if "20" in variant
        else tuple(f"semantic_head.predictor.{x}" for x in ("weight", "bias"))
    )
    assert fit.from_seed == fit.left_out == (() if is_taken else head)


def change(tensors: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    if what == "lacks":
        return {name: value for name, value in tensors.items() if "layer3.0" not in name}
    if what == "unknown":
        return tensors | {f"extra.{number}": torch.zeros(1) for number in range(5)}
    return tensors | {"conv1.weight": torch.zeros(8, 3, 3, 3)}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("lacks", r"15 tensors missing \(layer3\.0\.conv1\.weight, .*, \.\.\)"),
        ("unknown", r"5 tensors unknown to the network \(extra\.0, extra\.1, extra\.2, \.\.\)"),
        ("misshapen", r"1 tensor of another shape \(conv1\.weight: conv1\.weight is 8x3x3x3, not 8x3x7x7\)"),
    ],
)
@pytest.mark.parametrize("variant", ["resnet18:width=8", "fpn_resnet18:width=8"])
def test_weights_that_do_not_fit_are_refused_and_nothing_is_taken(variant: str, what: str, said: str) -> None:
    tensors = change(build("resnet18:width=8", seed=1).state_dict(), what)
    model = build(variant)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=rf"nothing of them was taken: .*{said}"):
        fit_weights(model, Source("x.pt", tensors, ""), variant, class_names=NAMES, image_size=SIZE)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_pyramid_does_not_fit_another_and_neither_fits_a_classifier() -> None:
    pyramid = source_of(build("fpn_resnet18:width=8"))
    for variant in ("vt_fpn_resnet18:width=8,num_tokens=4", "resnet18:width=8"):
        with pytest.raises(UserError, match="unknown to the network"):
            start(variant, pyramid)


def test_weights_of_before_batches_were_counted_fit() -> None:
    theirs = build("resnet20:width=4", seed=1).state_dict()
    source = Source("old.pth", {k: v for k, v in theirs.items() if "num_batches" not in k}, "")
    model, _ = start("resnet20:width=4", source)
    assert torch.equal(model.state_dict()["conv1.weight"], theirs["conv1.weight"])


def save_forms(folder: Path, weights: dict[str, Tensor]) -> list[str]:
    save_file(weights, folder / "a.safetensors")
    torch.save(dict(reversed(weights.items())), folder / "b.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}, folder / "c.pth")
    torch.save({"model": {f"_orig_mod.{k}": v for k, v in weights.items()}}, folder / "d.pth")
    return [str(path) for path in sorted(folder.iterdir())]


def test_equal_content_has_one_hash_in_every_form_and_other_content_another(tmp_path: Path) -> None:
    weights = TinyNet(4, 4).state_dict()
    sources = [open_source(place) for place in save_forms(tmp_path, weights)]
    assert len({source.sha256 for source in sources}) == 1
    assert all(set(source.tensors) == set(weights) for source in sources)
    save_file(weights | {"fc.bias": weights["fc.bias"] + 1}, tmp_path / "other.safetensors")
    assert open_source(str(tmp_path / "other.safetensors")).sha256 != sources[0].sha256


def test_what_are_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("x")
    save_file({"conv.weight": torch.tensor([1.0, torch.nan])}, tmp_path / "nan.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    for place, message in {
        "nowhere": "No weights to start from lie at .*nowhere",
        "": "the folder of a study with 0 finished runs",
        "notes.txt": "No weights to start from can be taken from",
        "nan.safetensors": "not all finite numbers: conv.weight",
        "list.pt": "no state dict",
    }.items():
        with pytest.raises(UserError, match=message):
            open_source(str(tmp_path / place))


def config_from(source: Path, **settings: Any) -> RunConfig:
    return tiny_config(**settings).model_copy(update={"init": InitConfig(source=str(source))})


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_run_starts_from_another_and_its_record_and_certificate_say_so(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_run(tiny_config(), tmp_path / "first")
    messages = Messages()
    record = train_run(config_from(tmp_path / "first", seed=1), tmp_path / "second", listener=messages)
    sha256 = open_source(str(tmp_path / "first")).sha256
    assert record.start == StartRecord(weights_sha256=sha256, taken=10, taken_params=284)
    assert record.certificate is not None and record.certificate.starting_weights == sha256
    assert messages.texts == [f"Starts from {tmp_path / 'first'}: 10 of 10 tensors taken, 284 parameters."]
    assert load_record(tmp_path / "second" / "record.json", RunRecord) == record
    alone = train_run(tiny_config(seed=1), tmp_path / "alone")
    assert alone.weights_sha256 != record.weights_sha256 and alone.start is None
    assert "starting_weights" not in (tmp_path / "alone" / "certificate.json").read_text()
    assert "init" not in (tmp_path / "alone" / "config.json").read_text()


def test_a_killed_run_goes_on_from_moved_weights_to_the_same_bits_and_not_from_others(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    train_run(tiny_config(), first)
    train_run(config_from(first, seed=1), tmp_path / "whole")
    with pytest.raises(Killed):
        train_run(config_from(first, seed=1), tmp_path / "killed", stop=KillAtLook(5))
    train_run(tiny_config(seed=9), tmp_path / "other")
    with pytest.raises(UserError, match=r"init\.sha256 is \w+ there and \w+ here"):
        train_run(config_from(tmp_path / "other", seed=1), tmp_path / "killed")
    shutil.move(first / "weights.safetensors", tmp_path / "moved.safetensors")
    train_run(config_from(tmp_path / "moved.safetensors", seed=1), tmp_path / "killed")
    same = ("metrics.jsonl", "weights.safetensors", "certificate.json")
    assert all(digest_run(tmp_path / "whole")[name] == digest_run(tmp_path / "killed")[name] for name in same)


def test_a_finished_run_is_shown_when_its_start_is_gone_but_not_for_another(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_run(tiny_config(), tmp_path / "first")
    record = train_run(config_from(tmp_path / "first", seed=1), tmp_path / "run")
    shutil.move(tmp_path / "first", tmp_path / "moved")
    assert train_run(config_from(tmp_path / "first", seed=1), tmp_path / "run") == record
    assert train_run(config_from(tmp_path / "moved", seed=1), tmp_path / "run") == record
    with pytest.raises(UserError, match=r"No weights to start from lie at .*gone"):
        train_run(config_from(tmp_path / "gone", seed=1), tmp_path / "run")


def test_a_run_whose_weights_are_not_those_of_its_record_is_no_start(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path / "first")
    file = tmp_path / "first" / "weights.safetensors"
    weights = load_file(file)
    save_file(weights | {"fc.bias": weights["fc.bias"] + 1}, file)
    for place in (tmp_path / "first", file):
        with pytest.raises(UserError, match="are not those of its record"):
            train_run(config_from(place, seed=1), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_bottlenecks_whose_stride_is_elsewhere_are_warned_of(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from vtbench.training.starting_weights import describe_start

    source, begun = source_of(build("resnet50:width=4")), StartRecord(taken=1)

    def describe(variant: str) -> str:
        return describe_start(InitConfig(source="r50.pth"), begun, variant, source)

    assert "stride_in=3x3 makes them the same" in describe("fpn_resnet50:width=4")
    assert "stride" not in describe("fpn_resnet50:width=4,stride_in=3x3") + describe("fpn_resnet18:width=4")


def test_a_certificate_of_before_is_equal_to_one_of_a_run_without_a_start() -> None:
    plain = dict.fromkeys(
        ("sample_order", "augmentation", "schedule", "recipe", "precision", "train_data", "val_data"), "x"
    )
    assert Certificate.model_validate(plain).model_dump() == plain
