"""Every family of models in every format: what is exported gives the network's scores, whatever the batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from vtbench.errors import UserError
from vtbench.export.exporting import NormalizedNetwork, check_file, write_network
from vtbench.export.formats import FORMATS
from vtbench.export.formats.torch_export import trace
from vtbench.models import MODELS, create_model
from vtbench.training.trained import WeightsNote
from vtbench.variants import split_variant

NUM_CLASSES = 5
NOTE = WeightsNote(
    variant="tiny",
    data="scenes",
    image_size=(8, 8),
    class_names=tuple("abcde"),
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)
NARROW, NARROW_FPN = "vt_resnet18:stem=small,width=8", "vt_fpn_resnet18:stem=small,width=8"
FAMILIES = [
    *(name for name in MODELS if max(MODELS[name].image_size) <= 32),
    "resnet18:stem=small,width=8",
    "san_small:attention=pairwise",
    *(f"{NARROW},tokenizer={name}" for name in ("static", "pooling", "clustering")),
    f"{NARROW},position=on,relations=graph_conv",
    f"{NARROW},projector=zeroed,relations=none",
    "vt_resnet50:stem=small,width=4,reading=full",
    "fpn_resnet18:stem=small,width=8",
    NARROW_FPN,
    f"{NARROW_FPN},tokenizer=clustering,relations=graph_conv,tokens=all",
    f"{NARROW_FPN},fold=on,top_down=on",
    "vt_fpn_resnet50:stem=small,width=4",
    "vit_b_16",
    "deit_b_16",
]
IN_CI = {"cbam_resnet20", NARROW_FPN}
"""Both sum over images in a way that an exporter may take for one size of batch; the rest takes minutes."""


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, NUM_CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.norm(self.conv(images))).mean((2, 3)))


class Stubborn(Tiny):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images * (2 if float(images.sum()) > 0 else 1))


def draw_pixels(size: tuple[int, int], number: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((number, 3, *size), np.float32)


def ask(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return NormalizedNetwork(model, NOTE.mean, NOTE.std).eval()(torch.from_numpy(images)).numpy()


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_file_takes_any_batch_normalises_and_holds_what_its_user_must_know(name: str) -> None:
    torch.manual_seed(0)
    model, images = Tiny().eval(), draw_pixels((8, 8))
    mean, std = (np.array(part, np.float32).reshape(3, 1, 1) for part in (NOTE.mean, NOTE.std))
    with torch.no_grad():
        expected = model(torch.from_numpy((images - mean) / std)).numpy()
    words = {"vtbench": json.dumps({"class_names": list(NOTE.class_names)}), "mean": "[0.5, 0.4, 0.3]"}
    packed = write_network(model, NOTE, name, images, words)
    checked = check_file(packed, name, images, expected, "random")
    assert checked.batch_sizes == (1, 4) and checked.largest_difference < 1e-5
    assert FORMATS[name].run(packed, draw_pixels((8, 8), 7)).shape == (7, NUM_CLASSES)
    if name == "onnx":
        import onnx

        proto = onnx.load_from_string(packed)
        assert {entry.key: entry.value for entry in proto.metadata_props} == words
        assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    else:
        import io

        extra = {"vtbench.json": ""}
        torch.export.load(io.BytesIO(packed), extra_files=extra)
        assert extra["vtbench.json"] == words["vtbench"]


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_file_that_does_not_give_the_networks_scores_is_refused(name: str) -> None:
    torch.manual_seed(0)
    model, images = Tiny().eval(), draw_pixels((8, 8))
    packed = write_network(model, NOTE, name, images, {"vtbench": "{}"})
    expected = ask(model, images)
    for wrong in (expected + 0.01, np.flip(expected, 1).copy()):
        with pytest.raises(UserError, match="does not give the network's scores"):
            check_file(packed, name, images, wrong, "random")
    with pytest.raises(UserError, match="gives scores of shape"):
        check_file(packed, name, images, expected[:, :2], "random")


def test_a_network_whose_values_decide_its_graph_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"tiny cannot be exported as torch-export: .*\w"):
        write_network(Stubborn().eval(), NOTE, "torch-export", draw_pixels((8, 8)), {"vtbench": "{}"})


def test_a_member_of_every_family_is_exported_below() -> None:
    families = {MODELS[split_variant(variant)[0]].family for variant in FAMILIES}
    assert families == {MODELS[name].family for name in MODELS}


class Rare(Tiny):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.special.bessel_j0(images))


def test_an_operator_that_a_format_has_not_is_named() -> None:
    told = "tiny cannot be exported as onnx: its operator prims.bessel_j0 is unknown"
    with pytest.raises(UserError, match=told):
        write_network(Rare().eval(), NOTE, "onnx", draw_pixels((8, 8)), {"vtbench": "{}"})


def test_attention_over_windows_is_exported_in_operators_that_torch_has_by_itself() -> None:
    torch.manual_seed(0)
    model = create_model("san_small", num_classes=NUM_CLASSES)
    program = trace(NormalizedNetwork(model, NOTE.mean, NOTE.std).eval(), torch.from_numpy(draw_pixels((32, 32), 2)))
    assert not [node for node in program.graph.nodes if str(node.target).startswith("vtbench")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", [name if name in IN_CI else pytest.param(name, marks=pytest.mark.not_in_ci) for name in FAMILIES]
)
def test_every_family_exports_in_every_format(variant: str) -> None:
    masks = MODELS[split_variant(variant)[0]].task == "segmentation"
    size = (64, 96) if masks else (32, 32)
    torch.manual_seed(0)
    model = create_model(variant, num_classes=NUM_CLASSES, image_size=size).eval()
    images = draw_pixels(size)
    note = NOTE.model_copy(update={"variant": variant, "image_size": size})
    expected = ask(model, images)
    for name in FORMATS:
        packed = write_network(model, note, name, images, {"vtbench": "{}"})
        checked = check_file(packed, name, images, expected, "random")
        assert checked.classes_agree and checked.largest_difference <= checked.tolerance
