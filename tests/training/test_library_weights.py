"""Trained weights by the names of libraries: what they hold is taken, hashed, and fits or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from tiny_parts import tiny_config

import vtbench.models  # noqa: F401
from vtbench.cli.first_checks import check_init
from vtbench.configuration import InitConfig, Recipe
from vtbench.errors import UserError
from vtbench.training import train_run
from vtbench.training.network import build_initialized_network
from vtbench.training.starting_weights import fit_weights, open_source, put_weights

SETTING: dict[str, Any] = {"num_classes": 4, "image_size": (32, 32)}
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def torchvision_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision looks before it downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_torchvisions_weights_are_read_from_its_cache_into_our_network(torchvision_cache: Path) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.resnet18().state_dict()
    torch.save(theirs, torchvision_cache / "resnet18-f37072fd.pth")
    source = open_source("torchvision:resnet18")
    assert source.sha256 == open_source("torchvision:resnet18,weights=IMAGENET1K_V1").sha256
    model = build_initialized_network("resnet18", Recipe(name="any"), seed=0, **SETTING)
    fit = fit_weights(model, source, "resnet18", class_names=NAMES, image_size=(32, 32))
    put_weights(model, source, fit)
    assert fit.from_seed == ("fc.weight", "fc.bias")
    assert torch.equal(model.state_dict()["layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])


def test_a_file_with_code_in_it_is_not_run(torchvision_cache: Path) -> None:
    torch.save({"conv1.weight": Path("x")}, torchvision_cache / "resnet18-f37072fd.pth")
    with pytest.raises(UserError, match=r"cannot give the weights of 'resnet18': UnpicklingError"):
        open_source("torchvision:resnet18")


def test_densenets_get_todays_names(torchvision_cache: Path) -> None:
    with torch.device("meta"):
        names = torchvision.models.densenet121().state_dict()
    old = {name.replace(".norm1.", ".norm.1."): torch.zeros(1) for name in names}
    torch.save(old, torchvision_cache / "densenet121-a639ec97.pth")
    assert set(open_source("torchvision:densenet121").tensors) == set(names)


def test_timms_weights_train_a_timm_network_and_stand_in_record_and_certificate(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_resnet").state_dict()
    tiny.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(theirs))
    config = tiny_config(dropout=0.0, stochastic_depth=0.0, freeze=("layer1.*",)).model_copy(
        update={"variant": "timm:test_resnet", "init": InitConfig(source="timm:test_resnet.r160_in1k")}
    )
    record = train_run(config, tmp_path)
    assert record.status == "finished"
    assert record.start is not None
    assert record.start.from_seed == {"fc": 2}
    assert record.certificate is not None
    assert record.certificate.starting_weights == record.start.weights_sha256 == open_source("timm:test_resnet").sha256
    assert record.start.frozen_params > 0


def test_timm_fits_position_embeddings_to_the_size_of_the_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("test_vit").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(theirs))
    variant = "timm:test_vit"
    model = build_initialized_network(variant, Recipe(name="any"), seed=0, **SETTING)
    fit: dict[str, Any] = {"class_names": NAMES, "image_size": (32, 32)}
    with pytest.raises(UserError, match=r"pos_embed is 1x101x64, not 1x5x64"):
        fit_weights(model, open_source("timm:test_vit"), variant, **fit)
    assert "pos_embed" in fit_weights(model, open_source("timm:test_vit,img_size=32"), variant, **fit).taken


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("timm:resnet18x", "Did you mean 'resnet18"),
        ("timm:resnet18,num_classes=4", "starts from the seed anyhow"),
        ("torchvision:resnet19", "no model named 'resnet19'"),
        ("torchvision:resnet18,weights=V9", "Write torchvision:resnet18,weights=ONE, one of IMAGENET1K_V1"),
    ],
)
def test_weights_that_there_are_not_are_refused_by_name(place: str, message: str) -> None:
    check_init([place])
    with pytest.raises(UserError, match=message):
        open_source(place)


def test_a_download_that_fails_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    with pytest.raises(UserError, match=r"timm cannot give the weights of 'test_vit': OSError: no connection. Is the"):
        open_source("timm:test_vit")
