"""Each failure names its cause and its own mend, and none sends the user to try sizes that cannot help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.profiling import profile
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.profile import profile_source
from vtbench.profiling.sources import resolve_source
from vtbench.records import NotMeasured


class Calling(nn.Module):
    """Runs a function on its input, behind a layer of 3 channels."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer, self.function = nn.Conv2d(3, 4, 1), function

    def forward(self, batch: Any) -> Tensor:
        return self.layer(self.function(batch))  # type: ignore[no-any-return]


class Two(nn.Module):
    def forward(self, image: Tensor, words: Tensor, scale: float = 1.0) -> Tensor:
        return image


def raise_(error: Exception) -> Callable[[Any], Any]:
    def call(batch: Any) -> Any:
        raise error

    return call


FAILURES: dict[str, tuple[nn.Module, str]] = {
    "a second input": (Two(), r"forward takes image, words, scale: .*--input image=SHAPE --input words=SHAPE"),
    "an argument that may be left out, but not here": (
        Calling(raise_(AttributeError("'NoneType' object has no attribute 'shape'"))),
        r"forward takes batch: give each that it needs, as --input batch=SHAPE",
    ),
    "frames": (nn.Sequential(nn.Conv3d(3, 4, 1)), r"takes frames or volumes: .*--input 3x16x112x112"),
    "sequences": (nn.Sequential(nn.Conv1d(5, 4, 1)), r"takes sequences: give --input 5xLENGTH"),
    "channels": (nn.Conv2d(4, 4, 1), r"takes 4 channels where 3 came: --channels 4"),
    "ids": (nn.Embedding(9, 4), r"as integers, as --input NAME=LENGTH:int64"),
    "a dictionary": (Calling(raise_(KeyError("image"))), r"--input batch\.KEY=3x224x224"),
    "too small a size": (nn.Conv2d(3, 4, 11), r"Check the input size: give another --image-size"),
    "a named device": (Calling(raise_(RuntimeError("Found no NVIDIA driver"))), r"asks for a GPU by name"),
    "too little memory": (Calling(raise_(RuntimeError("can't allocate memory"))), r"smaller size or batch"),
    "nested tensors": (Calling(lambda batch: torch.nested.nested_tensor([batch[0]])), r"pad them to one length"),
    "jagged nested tensors": (
        Calling(lambda batch: torch.nested.nested_tensor([batch[0]], layout=torch.jagged)),
        r"pad them to one length",
    ),
    "a fault of its own": (
        Calling(raise_(ZeroDivisionError("half of nothing"))),
        r"half of nothing \(raised in test_failures\.py, line \d+\)\. No option is known to mend that",
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("cause", FAILURES)
def test_a_failure_names_its_cause_and_its_own_mend(cause: str) -> None:
    model, sentence = FAILURES[cause]
    with pytest.raises(ProfileError, match=f"fails on an input of 1x3x8x8: .*{sentence}") as caught:
        profile(model, 8)
    assert ("Check the input size" in str(caught.value)) == (cause == "too small a size")


def test_the_mend_of_a_batch_of_one_works() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 4))
    with pytest.raises(ProfileError, match="Give a batch of 2 or more: --batch-size 2"):
        profile(model, 8, training=True)
    assert profile(model, 8, training=True, batch_size=2).macs == 24


def test_a_model_that_wants_targets_in_training_says_how_they_are_given() -> None:
    class Detector(nn.Conv2d):
        def forward(self, images: Tensor, targets: Any = None) -> Tensor:
            assert not self.training or targets is not None, "targets should not be none when in training mode"
            return super().forward(images)

    counted = profile(Detector(3, 4, 1), 8)
    assert isinstance(counted.activations, NotMeasured)
    assert "inputs= in Python" in counted.activations.reason
    given = {"images": torch.zeros(1, 3, 8, 8), "targets": [{"boxes": torch.zeros(1, 4)}]}
    assert not isinstance(profile(Detector(3, 4, 1), inputs=given).activations, NotMeasured)


@pytest.mark.parametrize(
    ("body", "mend"),
    [
        ("import no_such_package", "Install no_such_package, or put it beside the file"),
        ("open('weights.pth')", "A relative path begins at the folder"),
    ],
)
def test_a_builder_that_fails_names_its_own_mend(body: str, mend: str, tmp_path: Path) -> None:
    file = tmp_path / "fails.py"
    file.write_text(f"def build():\n    {body}\ndef needs(width):\n    pass\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=mend):
        profile_source(resolve_source(f"{file}:build"))
    with pytest.raises(ProfileError, match="Name a function or a class that needs no arguments"):
        profile_source(resolve_source(f"{file}:needs"))


def test_no_message_shows_an_address_of_an_object() -> None:
    result = CliRunner().invoke(app, ["profile", "torchvision:raft_small", "--input", "3x128x128"])
    assert result.exit_code == 2
    assert "0x" not in result.stderr
    assert "--input image2=SHAPE" in result.stderr
