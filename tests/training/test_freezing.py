"""What is frozen keeps its bits; what cannot be frozen is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_parts import TinyNet, tiny_config
from torch import nn

import vtbench.models  # noqa: F401
from vtbench.errors import UserError
from vtbench.training import train_run
from vtbench.training.freezing import find_frozen_norms, freeze_parameters
from vtbench.training.network import initialize_by_name
from vtbench.variants import create_model


def list_trained(model: nn.Module) -> set[str]:
    return {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_frozen_parameters_and_statistics_keep_their_bits_and_others_do_not(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = train_run(tiny_config(freeze=("conv.*", "norm.*")), tmp_path / "frozen")
    train_run(tiny_config(), tmp_path / "whole")
    frozen, whole = (load_file(tmp_path / name / "weights.safetensors") for name in ("frozen", "whole"))
    model = TinyNet(4, 4)
    initialize_by_name(model, 0)
    for name, value in model.state_dict().items():
        assert torch.equal(frozen[name], value) == name.startswith(("conv.", "norm.")), name
        assert not torch.equal(whole[name], value), name
    assert record.start is not None and record.start.frozen_params == 4 * 27 + 2 * 4
    assert record.config.recipe.freeze == ("conv.*", "norm.*")


def test_a_normalisation_of_which_a_part_is_trained_goes_on_with_its_statistics() -> None:
    model = TinyNet(4, 4)
    freeze_parameters(model, ["norm.weight"])
    assert find_frozen_norms(model) == []
    freeze_parameters(model, ["norm.bias"])
    assert find_frozen_norms(model) == [model.norm]


def test_the_trunk_is_what_lies_below_neck_and_head() -> None:
    for variant, rest in {"vt_fpn_resnet18:width=8": {"neck", "semantic_head"}, "vt_resnet20:width=4": {"fc"}}.items():
        model = create_model(variant, num_classes=3, image_size=96)
        freeze_parameters(model, ["trunk.*"])
        assert list_trained(model) == rest
    model = create_model("fpn_resnet18:width=8", num_classes=3, image_size=96)
    freeze_parameters(model, ["layer[12].*", "bn?.*"])
    assert list_trained(model) == {"conv1", "layer3", "layer4", "neck", "semantic_head"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layr1.*", r"No parameter matches the pattern 'layr1\.\*'.*'layer1\.\*'"),
        ("layer1", r"matches the pattern 'layer1'.*'layer1\.\*'"),
        ("trunc.*", r"Did you mean 'trunk\.\*'"),
        ("*", "freeze every parameter"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_everything_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        freeze_parameters(create_model("resnet20:width=4"), [pattern])
