"""Networks of libraries and of users' files train as ours do: same seed, same bits, known by what they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import KillAtLook, Killed
from tiny_parts import digest_run, tiny_config
from torch import nn

import vtbench.models  # noqa: F401
from vtbench.configuration import Recipe, RunConfig
from vtbench.errors import UserError
from vtbench.files import hash_file
from vtbench.records import NotMeasured, RunRecord
from vtbench.training import train_run
from vtbench.training.foreign_network import hash_network, try_network
from vtbench.training.network import build_initialized_network
from vtbench.training.trained import load_run

NETS = """
import random

import torch
from beside import WIDTH
from torch import nn


class Small(nn.Module):
    def __init__(self, num_classes, image_size, width=WIDTH):
        super().__init__()
        self.scale = nn.Parameter(torch.full((3, 1, 1), random.random()))
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.25))
        self.head = nn.LazyLinear(num_classes)

    def forward(self, images):
        return self.head(self.body(images * self.scale).flatten(1))


class Uncounted(Small):
    def forward(self, images):
        rows = self.body(images * self.scale).flatten(1)
        return self.head(torch.special.bessel_j0(rows))


class Pair(Small):
    def forward(self, images):
        scores = super().forward(images)
        return (scores, scores) if self.training else scores


class Views(Small):
    def forward(self, images):
        features = self.body(images * self.scale)
        return self.head(features.view(len(features), -1))


class Forgets(Small):
    def __init__(self, num_classes, image_size):
        super().__init__(num_classes, image_size)
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def forward(self, images):
        if self.training:
            self.steps += 1
        return super().forward(images)


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 9))


def mask(num_classes):
    return nn.Conv2d(3, num_classes, 1)
"""
SETTING: dict[str, Any] = {"num_classes": 4, "image_size": (8, 8)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "beside.py").write_text("WIDTH = 4\n", encoding="utf-8")
    (folder / "nets.py").write_text(NETS, encoding="utf-8")
    return folder / "nets.py"


def configure(file: Path, name: str = "Small", **execution: Any) -> RunConfig:
    config = tiny_config(dropout=0.0, stochastic_depth=0.0, execution=execution)
    return config.model_copy(update={"variant": f"{file}:{name}"})


def build(variant: str, seed: int = 0, **recipe: float) -> nn.Module:
    return build_initialized_network(variant, Recipe(name="any", **recipe), seed=seed, **SETTING)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", ["timm:resnet10t", "torchvision:squeezenet1_1", "{file}:Small"])
def test_one_seed_gives_one_network_and_touches_no_other_draw(variant: str, file: Path) -> None:
    variant = variant.replace("{file}", str(file))
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, again, other = (build(variant, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_a_network_keeps_its_own_dropout_unless_the_recipe_has_some(file: Path) -> None:
    rates = [
        next(m.p for m in build(f"{file}:Small", **r).modules() if isinstance(m, nn.Dropout))
        for r in ({}, {"dropout": 0.5})
    ]
    assert rates == [0.25, 0.5]


def test_branches_are_dropped_where_a_library_can_and_else_that_is_refused() -> None:
    model = build("timm:resnet10t,drop_path_rate=0.1", stochastic_depth=0.4)
    found = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert found == pytest.approx([0.4 * step / len(found) for step in range(1, len(found) + 1)])
    with pytest.raises(UserError, match=r"built with none that can be dropped. Build it with some \(timm: drop_path"):
        build("timm:resnet10t", stochastic_depth=0.4)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            "{file}:wide",
            r"a tensor of shape \(2, 9\) in evaluation for 2 images, and \(2, 4\).*Let it take num_classes",
        ),
        ("{file}:mask", r"shape \(2, 4, 8, 8\).*vtbench list has some for segmentation"),
        ("{file}:Pair", "gives a tuple in training for 2 images.*without auxiliary heads"),
        ("{file}:Forgets", "changes its buffer 'steps' in training and does not save it"),
        ("{file}:Views", r"Write reshape\(\) or flatten\(\) instead of view\(\), or train it with --no-channels-last"),
        ("torchvision:alexnet", "cannot be trained on images of 8x8 pixels.*Give another --image-size"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training(variant: str, message: str, file: Path) -> None:
    variant = variant.replace("{file}", str(file))
    with pytest.raises(UserError, match=message):
        try_network(build(variant), variant, channels_last=True, **SETTING)


def test_another_layout_of_memory_lets_views_pass(file: Path) -> None:
    try_network(build(f"{file}:Views"), "views", channels_last=False, **SETTING)


def test_torchvisions_models_for_other_tasks_are_refused() -> None:
    with pytest.raises(
        UserError, match="is a model for segmentation, and of torchvision only those for classification"
    ):
        build("torchvision:fcn_resnet50")


def test_a_network_is_known_by_its_parts_and_shapes_not_by_its_weights() -> None:
    hashes = [
        hash_network(build(variant, seed), code)
        for variant, seed, code in (
            ("timm:resnet10t", 0, None),
            ("timm:resnet10t", 1, None),
            ("timm:resnet10t,act_layer=gelu", 0, None),
            ("timm:resnet10t", 0, "0" * 64),
        )
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_a_killed_run_of_a_users_file_ends_in_the_same_bytes_wherever_the_file_lies(
    tiny: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    whole = train_run(configure(file), tmp_path / "whole")
    assert whole.status == "finished"
    assert whole.variant == "nets.py:Small"
    with pytest.raises(Killed):
        train_run(configure(file, checkpoint_seconds=1e-9), tmp_path / "killed", stop=KillAtLook(4))
    shutil.move(file.parent, tmp_path / "moved")
    record = train_run(configure(tmp_path / "moved" / "nets.py"), tmp_path / "killed")
    assert hash_file(tmp_path / "whole" / "weights.safetensors") == hash_file(
        tmp_path / "killed" / "weights.safetensors"
    )
    assert record.certificate == whole.certificate
    assert whole.certificate is not None
    assert whole.certificate.network is not None
    assert record.config.code is not None
    assert whole.config.code is not None
    assert record.config.code.sha256 == whole.config.code.sha256


@pytest.mark.parametrize("changed", ["nets.py", "beside.py"])
def test_a_run_does_not_go_on_with_a_changed_file(
    changed: str, tiny: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train_run(configure(file, checkpoint_seconds=1e-9), tmp_path / "run", stop=KillAtLook(4))
    path = file.parent / changed
    path.write_text(path.read_text("utf-8") + "\n# another\n", encoding="utf-8")
    with pytest.raises(UserError, match="is another than this was begun with: its content has the SHA-256"):
        train_run(configure(file), tmp_path / "run")


def test_a_finished_run_is_shown_without_its_file_and_its_weights_want_the_same(
    tiny: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    config, folder = configure(file), tmp_path / "run"
    record = train_run(config, folder)
    trained = load_run(folder)
    assert type(trained.model).__name__ == "Small"
    text = file.read_text("utf-8")
    file.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is another than this was begun with"):
        load_run(folder)
    file.unlink()
    assert train_run(config, folder) == record
    with pytest.raises(UserError, match="There is no file"):
        load_run(folder)


def test_what_cannot_be_counted_is_refused_unless_the_user_says_so(
    tiny: pytest.MonkeyPatch, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"bessel_j0.*With --uncounted"):
        train_run(configure(file, "Uncounted"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    record: RunRecord = train_run(configure(file, "Uncounted", uncounted=True), tmp_path / "run")
    assert record.status == "finished"
    assert isinstance(record.costs, NotMeasured)
    assert "bessel_j0" in record.costs.reason


def test_a_timm_run_repeats_itself_and_names_its_version(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    config = tiny_config(dropout=0.0, stochastic_depth=0.0).model_copy(update={"variant": "timm:test_resnet"})
    record = train_run(config, tmp_path / "first")
    train_run(config, tmp_path / "second")
    assert digest_run(tmp_path / "first") == digest_run(tmp_path / "second")
    assert record.environment.packages["timm"] == timm.__version__
    assert record.config.code is None
