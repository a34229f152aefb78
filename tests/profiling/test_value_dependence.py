"""Models whose values decide what they cost: found, said in every format, and counted at their limits on request."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.profiling import profile
from vtbench.records.profile import Profile

LAYER = 64 * 12
"""MACs of a 1x1 convolution of 3 to 4 channels on 8x8 cells."""


class EarlyExit(nn.Module):
    """Leaves after the first layer when it is sure, else after the second or the third."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        for layer in self.layers:
            images_BCHW = layer(images_BCHW)
            if images_BCHW.max() > 1e9:
                break
        return images_BCHW


class Pruned(nn.Module):
    """Keeps the cells that are positive in some channel, half of them or so."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        cells = images_BCHW.flatten(2).mT.flatten(0, 1)
        return self.layer(cells[cells[:, 0] > 0])  # type: ignore[no-any-return]


class Experts(nn.Module):
    """Each cell goes to one of two equal experts: which, values decide, and how much they cost, not."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 2, bias=False)
        self.experts = nn.ModuleList(nn.Linear(3, 4) for _ in range(2))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        cells = images_BCHW.flatten(2).mT.flatten(0, 1)
        chosen = self.gate(cells).argmax(1)
        out = cells.new_zeros(len(cells), 4)
        for number, expert in enumerate(self.experts):
            (rows,) = torch.where(chosen == number)
            out[rows] = expert(cells[rows])
        return out


def count(model: nn.Module, **settings: bool) -> Profile:
    return profile(model, 8, activations=False, **settings)


def test_every_way_through_early_exits_is_found() -> None:
    counted = count(EarlyExit())
    layer = 64 * 9
    found = counted.value_dependence
    assert found is not None
    assert found.macs == (layer, 2 * layer, 3 * layer)
    assert found.is_complete
    assert counted.macs == 3 * layer
    assert counted.parameters.idle == 0
    assert "item in the model itself): 576, 1,152 or 1,728 MACs" in counted.notes[0]
    assert count(EarlyExit(), at_limits=True).macs == 3 * layer


def test_the_dearest_way_is_counted_on_request_though_the_values_take_another() -> None:
    class Sure(EarlyExit):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            first = self.layers[0](images_BCHW)
            return first if first.max() > -1e9 else self.layers[1](first)

    assert count(Sure()).macs == 64 * 9
    assert count(Sure()).parameters.idle == 9
    counted = count(Sure(), at_limits=True)
    assert counted.macs == sum(part.macs for part in counted.operators) == 2 * 64 * 9


def test_selected_rows_are_found_to_depend_on_the_image() -> None:
    counted = count(Pruned())
    found = counted.value_dependence
    assert found is not None
    assert counted.macs in found.macs
    assert len(found.macs) == 2
    assert all(macs % 12 == 0 and macs < LAYER for macs in found.macs)
    assert not found.is_complete
    assert [(one.name, one.module, one.runs) for one in found.operators] == [("aten::index", "", 1)]


def test_experts_that_share_all_rows_are_said_to_cost_the_same() -> None:
    counted = count(Experts())
    assert counted.value_dependence is not None
    assert counted.value_dependence.macs == (64 * 6 + LAYER,)
    assert "values decide what runs (nonzero in the model itself): 2 passes with other values cost" in counted.notes[0]


def test_values_that_leave_torch_are_seen_to_decide() -> None:
    class Counted(Pruned):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            cells = images_BCHW.flatten(2).mT.flatten(0, 1)
            return self.layer(cells[: int((cells[:, 0].numpy() > 0).sum())])  # type: ignore[no-any-return]

    found = count(Counted()).value_dependence
    assert found is not None
    assert [one.name for one in found.operators] == ["numpy"]
    assert len(found.macs) == 2
    assert "what is computed of them outside of torch is not counted" in count(Counted()).notes[0]


def test_chance_decides_as_values_do_and_is_drawn_alike_each_time() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(3))

        def forward(self, images_BCHW: Tensor) -> Tensor:
            for layer in self.layers:
                if torch.rand(()) < 0.5:
                    images_BCHW = layer(images_BCHW)
            return images_BCHW

    counted = count(Dropping())
    assert counted.traced_on == "meta"
    assert counted.value_dependence is not None
    assert counted.value_dependence.macs == (0, 64 * 9, 2 * 64 * 9, 3 * 64 * 9)
    assert {count(Dropping()).macs for _ in range(5)} == {counted.macs}


@pytest.mark.parametrize(
    ("draw", "by"), [(random.random, "Python's random numbers"), (np.random.random, "NumPy's random numbers")]
)
def test_chance_outside_of_torch_is_seen_to_decide_and_drawn_otherwise(draw: Callable[[], float], by: str) -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1, bias=False) for _ in range(2))

        def forward(self, images_BCHW: Tensor) -> Tensor:
            return self.layers[1](images_BCHW) if draw() < 0.5 else self.layers[0](self.layers[1](images_BCHW))

    counted = count(Dropping())
    assert counted.traced_on == "meta"
    assert counted.value_dependence is not None
    assert [one.name for one in counted.value_dependence.operators] == [by]
    assert counted.value_dependence.macs == (64 * 9, 2 * 64 * 9)
    assert not counted.value_dependence.is_complete
    assert by in counted.notes[0]
    assert {count(Dropping()).macs for _ in range(5)} == {counted.macs}


class HoldsGenerator(nn.Module):
    def __init__(self, draws: Any) -> None:
        super().__init__()
        self.layer, self.draws = nn.Conv2d(3, 3, 1, bias=False), draws

    def forward(self, images_BCHW: Tensor) -> Tensor:
        draws = OF_THIS_FILE if self.draws is None else self.draws
        return self.layer(images_BCHW) if next_number(draws) < 0.5 else images_BCHW  # type: ignore[no-any-return]


OF_THIS_FILE = np.random.default_rng(3)


def next_number(draws: Any) -> float:
    return float(draws.random_sample() if isinstance(draws, np.random.RandomState) else draws.random())


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState, random.Random, lambda seed: None])
def test_generators_that_a_model_or_its_file_holds_are_seen_to_decide_and_stay_where_they_were(
    make: Callable[[int], Any],
) -> None:
    held = HoldsGenerator(make(5))
    counted = count(held)
    found = counted.value_dependence
    assert found is not None
    assert [one.name for one in found.operators] == [
        "Python's random numbers" if make is random.Random else "NumPy's random numbers"
    ]
    assert found.macs == (0, 64 * 9)
    assert {count(HoldsGenerator(make(seed))).macs for seed in range(5)} == {counted.macs}
    expected = np.random.default_rng(3) if held.draws is None else make(5)
    assert next_number(OF_THIS_FILE if held.draws is None else held.draws) == next_number(expected)


@pytest.mark.parametrize("kind", ["constant", "parameter", "assertion"])
def test_values_that_do_not_come_from_the_input_or_only_check_it_decide_nothing(kind: str) -> None:
    class Checked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = nn.Conv2d(3, 4, 1), nn.Parameter(torch.ones(()))

        def forward(self, images_BCHW: Tensor) -> Tensor:
            if kind == "assertion":
                assert not images_BCHW.isnan().any()
            rate = float(self.scale) if kind == "parameter" else torch.linspace(0, 1, 3).tolist()[1]
            return self.layer(images_BCHW) * rate  # type: ignore[no-any-return]

    counted = count(Checked())
    assert counted.macs == LAYER
    found = counted.value_dependence
    assert found is None if kind != "assertion" else found.macs == (LAYER,)


def write_detector(folder: Path) -> str:
    file = folder / "detector.py"
    file.write_text(
        "from torchvision.models import detection, mobilenet_v3_small\n"
        "from torchvision.models.detection.anchor_utils import AnchorGenerator\n"
        "def build():\n"
        "    body = mobilenet_v3_small(weights=None).features[:2]\n"
        "    body.out_channels = 16\n"
        "    return detection.FasterRCNN(body, 3, min_size=64, max_size=64,\n"
        "        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((1.0,),)), box_detections_per_img=5,\n"
        "        rpn_post_nms_top_n_test=20)\n",
        encoding="utf-8",
    )
    return f"{file}:build"


def test_a_detector_says_that_proposals_decide_and_is_counted_at_its_limits(tmp_path: Path) -> None:
    arguments = ["profile", write_detector(tmp_path), "--input-size", "32", "--format"]
    (drawn,) = json.loads(CliRunner().invoke(app, [*arguments, "json"]).stdout)
    (limited,) = json.loads(CliRunner().invoke(app, [*arguments, "json", "--at-limits"]).stdout)
    assert drawn["value_dependence"]["limits"] == "20 proposals and 5 detections"
    heads = {entry["model"]: {one["name"]: one["macs"] for one in entry["stages"]} for entry in (drawn, limited)}
    box = 20 * (16 * 49 * 1024 + 1024 * 1024 + 1024 * (3 + 12))
    assert heads[limited["model"]]["roi_heads"] == box
    assert drawn["macs"] <= limited["macs"]
    assert any("first layer ran on 1x3x64x64" in note for note in drawn["notes"])
    row = next(csv.DictReader(io.StringIO(CliRunner().invoke(app, [*arguments, "csv"]).stdout)))
    assert int(row["macs_lowest"]) <= int(row["macs"]) <= int(row["macs_highest"])
    for text_format in ("table", "csv", "markdown", "latex"):
        shown = " ".join(CliRunner().invoke(app, [*arguments, text_format]).stdout.split())
        assert "the model allows 20 proposals and 5 detections an image, which --at-limits counts" in shown
