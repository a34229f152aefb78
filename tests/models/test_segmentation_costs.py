"""What the segmentation networks cost, against the paper's tables 9 and 10 and against counts made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtbench.layers.residual_branch import BranchScale
from vtbench.models import create_model
from vtbench.models.visual_transformer_neck import WIRINGS
from vtbench.profiling import profile

COCO_STUFF, LIP = ((800, 1216), 54), ((473, 473), 20)
NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, BranchScale)


def build_on_meta(variant: str, num_classes: int = 54, size: tuple[int, int] = (800, 1216)) -> nn.Module:
    with torch.device("meta"):
        return create_model(variant, num_classes=num_classes, image_size=size)


def count(variant: str, setting: tuple[tuple[int, int], int] = COCO_STUFF) -> dict[str, float]:
    """G MACs of each stage and "total"; raises where trace and closed forms differ, or a MAC has no closed form."""
    size, num_classes = setting
    counted = profile(build_on_meta(variant, num_classes, size), size, activations=False)
    assert counted.covered_macs == counted.macs
    return {"total": counted.macs / 1e9, **{part.name: part.macs / 1e9 for part in counted.stages}}


@pytest.mark.parametrize(
    ("variant", "setting", "total", "neck"),
    [
        ("fpn_resnet50", COCO_STUFF, 159.1345, 55.0994),
        ("fpn_resnet101", COCO_STUFF, 231.1056, 55.0994),
        ("fpn_resnet50", LIP, 37.335, 12.8932),
        ("fpn_resnet101", LIP, 54.381, 12.8932),
        ("vt_fpn_resnet50", COCO_STUFF, 112.5516, 8.5165),
        ("vt_fpn_resnet101", COCO_STUFF, 184.5227, 8.5165),
        ("vt_fpn_resnet50", LIP, 26.49998, 2.0582),
        ("vt_fpn_resnet101", LIP, 43.5459, 2.0582),
        ("vt_fpn_resnet50:fold=on", COCO_STUFF, 110.258, 6.223),
        ("vt_fpn_resnet50:fold=on", LIP, 25.964, 1.522),
    ],
)
def test_total_and_neck_are_those_counted_by_hand(variant, setting, total, neck):
    counted = count(variant, setting)
    assert counted["total"] == pytest.approx(total, abs=6e-4)
    assert counted["neck"] == pytest.approx(neck, abs=6e-4)


@pytest.mark.parametrize(
    ("variant", "setting", "printed", "tolerance"),
    [
        ("fpn_resnet50", COCO_STUFF, 159, 0.001),
        ("fpn_resnet101", COCO_STUFF, 231, 0.001),
        ("vt_fpn_resnet50", COCO_STUFF, 113, 0.005),
        ("vt_fpn_resnet101", COCO_STUFF, 185, 0.005),
        ("fpn_resnet50", LIP, 37.1, 0.01),
        ("fpn_resnet101", LIP, 54.4, 0.001),
        ("vt_fpn_resnet50", LIP, 26.4, 0.005),
        ("vt_fpn_resnet101", LIP, 43.6, 0.005),
    ],
)
def test_totals_are_near_those_that_the_paper_prints(variant, setting, printed, tolerance):
    assert count(variant, setting)["total"] == pytest.approx(printed, rel=tolerance)


def test_the_head_and_the_trunk_are_those_of_a_hand_count():
    large, small = count("fpn_resnet50"), count("fpn_resnet50", LIP)
    assert (large["head"], small["head"]) == (pytest.approx(29.2774, abs=1e-4), pytest.approx(6.800, abs=1e-3))
    trunk = ("stem", "stage2", "stage3", "stage4", "stage5")
    assert sum(large[stage] for stage in trunk) == pytest.approx(74.758, abs=1e-3)
    assert count("vt_fpn_resnet50")["head"] == large["head"]


WIRED = {  # M MACs of the neck at 800x1216 and at 473x473.
    "wiring=s1": (8516.5, 2058.2),
    "wiring=s2": (8516.5, 2046.5),
    "wiring=s3": (8521.3, 2098.8),
    "wiring=s4": (8545.4, 2070.9),
    "wiring=s5": (8510.8, 2088.3),
    "wiring=s7": (8536.5, 2063.0),
    "wiring=s8,tokens=all": (8500.7, 2082.1),
}


def test_every_wiring_is_counted():
    assert {option.partition(",")[0].removeprefix("wiring=") for option in WIRED} == set(WIRINGS)


@pytest.mark.parametrize("option", WIRED)
def test_every_wiring_meets_the_costs_that_the_paper_prints_for_both_tables(option):
    for setting, expected in zip((COCO_STUFF, LIP), WIRED[option], strict=True):
        assert count(f"vt_fpn_resnet50:{option}", setting)["neck"] * 1e3 == pytest.approx(expected, abs=0.1)
    large, small = WIRED[option]
    assert round(large / 1e3, 1) == 8.5
    assert int(small / 100) / 10 == 2.0


@pytest.mark.parametrize(
    ("size", "fpn", "vt", "folded"),
    [((128, 128), 834, 129, 112), ((240, 320), 3911, 354.2, 270), ((360, 480), 8810, 712, 521)],
)
def test_the_necks_of_resnet18_at_small_sizes_are_those_counted_by_hand(size, fpn, vt, folded):
    for variant, expected in (("fpn_resnet18", fpn), ("vt_fpn_resnet18", vt), ("vt_fpn_resnet18:fold=on", folded)):
        assert count(variant, (size, 11))["neck"] * 1e3 == pytest.approx(expected, abs=0.6)


def count_parameters(variant: str) -> int:
    """Parameters of the neck without those of normalisation and without biases."""
    neck = build_on_meta(variant).get_submodule("neck")
    owners = [module for module in neck.modules() if not isinstance(module, NORMS)]
    named = [pair for module in owners for pair in module.named_parameters(recurse=False)]
    return sum(parameter.numel() for name, parameter in named if name != "bias")


@pytest.mark.parametrize(
    ("variant", "params"),
    [
        ("vt_fpn_resnet50", 5_109_760),
        ("vt_fpn_resnet50:fold=on", 5_109_760),
        ("vt_fpn_resnet18", 3_980_800),
        ("fpn_resnet50", 256 * 3840 + 4 * 9 * 256 * 256),
        ("fpn_resnet18", 256 * 960 + 4 * 9 * 256 * 256),
    ],
)
def test_the_parameters_of_the_neck_are_those_of_the_equations(variant, params):
    assert count_parameters(variant) == params


@pytest.mark.parametrize("width", [8, 16])
@pytest.mark.parametrize("depth", [18, 50])
def test_a_narrow_twin_keeps_the_proportions_of_the_full_network(depth, width):
    narrow = build_on_meta(f"vt_fpn_resnet{depth}:width={width}")
    level = narrow.neck.levels[0]
    assert level.projector.out_channels == 4 * width
    assert level.token_mlp.token_dim == 16 * width
    assert narrow.semantic_head.channels == 2 * width
    full, scale = count(f"vt_fpn_resnet{depth}"), (64 / width) ** 2
    cheap = count(f"vt_fpn_resnet{depth}:width={width}")
    for part in ("stage3", "stage5"):
        assert cheap[part] * scale == pytest.approx(full[part], rel=0.01)
    assert cheap["head"] * scale == pytest.approx(full["head"], rel=0.15)  # The predictor's classes stay as many.


def test_one_trunk_has_the_stride_of_the_papers_first_version_and_can_have_the_other():
    assert build_on_meta("fpn_resnet50").get_submodule("layer2.0.conv1").stride == (2, 2)
    assert build_on_meta("vt_fpn_resnet50:stride_in=3x3").get_submodule("layer2.0.conv2").stride == (2, 2)
