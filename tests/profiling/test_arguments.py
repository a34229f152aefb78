"""Models that do not take one image: what users write reaches ``forward`` as it was meant."""

from __future__ import annotations

import csv
import io
import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.input_shapes import InputSpec, parse_input
from vtbench.profiling import profile
from vtbench.profiling.arguments import make_arguments
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source

QUICK = ProfileSettings(activations=False)
META = torch.device("meta")


class Captions(nn.Module):
    """An image and the ids of its words: 64 cells of 3 channels to 4, and 7 words of width 5 to 6."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.embed, self.read = nn.Conv2d(3, 4, 1), nn.Embedding(9, 5), nn.Linear(5, 6)

    def forward(self, image: Tensor, words: Tensor, scale: Tensor | None = None) -> dict[str, Tensor]:
        return {"image": self.look(image), "words": self.read(self.embed(words))}


CAPTIONS = 64 * 12 + 7 * 30


def run_json(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["profile", *arguments, "--format", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def write_models(folder: Path) -> Path:
    file = folder / "several.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "class Captions(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.look, self.embed, self.read = nn.Conv2d(3, 4, 1), nn.Embedding(9, 5), nn.Linear(5, 6)\n"
        "    def forward(self, image, words):\n"
        "        return {'image': self.look(image), 'words': self.read(self.embed(words))}\n"
        "class Batch(Captions):\n"
        "    def forward(self, batch):\n"
        "        return super().forward(batch['image'], batch['words'])\n"
        "class Views(nn.Conv2d):\n"
        "    def __init__(self):\n"
        "        super().__init__(3, 4, 1)\n"
        "    def forward(self, views):\n"
        "        return [super(Views, self).forward(view) for view in views]\n"
        "downloads = lambda: torch.hub.load_state_dict_from_url('https://weights.invalid/x.pth', progress=False)\n",
        encoding="utf-8",
    )
    return file


def test_an_input_is_a_shape_with_a_name_a_type_and_marks() -> None:
    assert parse_input("image=3x224x224") == InputSpec(("image",), (3, 224, 224))
    assert parse_input("3x16X112×112") == InputSpec((), (3, 16, 112, 112))
    assert parse_input("input_ids=77:int64") == InputSpec(("input_ids",), (77,), "int64")
    assert parse_input("batch.image=1:unbatched:bool") == InputSpec(("batch", "image"), (1,), "bool", batched=False)
    for text in ("image", "image=", "=3x4", "image=3x-4", "a b=3", "image=0x4", "image=4:int7", "x=4:int32:int64"):
        with pytest.raises(UserError, match="input"):
            parse_input(text)


def test_names_reach_arguments_dictionaries_and_lists() -> None:
    specs = [parse_input(text).repeat(2) for text in ("4x4", "batch.a=3", "batch.b.1=5:unbatched", "batch.b.0=6:int32")]

    class Anything(nn.Module):
        def forward(self, first: Tensor, batch: Any) -> None: ...

    found = make_arguments(tuple(specs), Anything(), META)
    assert [tuple(one.shape) for one in found.positional] == [(2, 4, 4)]
    assert tuple(found.named["batch"]["a"].shape) == (2, 3)
    assert [(tuple(one.shape), one.dtype) for one in found.named["batch"]["b"]] == [
        ((2, 6), torch.int32),
        ((5,), torch.float32),
    ]
    assert [name for name, _ in found.list_tensors()] == ["0", "batch.a", "batch.b.0", "batch.b.1"]
    for wrong in ("other=3", "batch.a=3", "batch.a.b=3"):
        with pytest.raises(UserError, match=r"no argument 'other'|given twice|a tensor itself"):
            make_arguments((*specs, parse_input(wrong)), Anything(), META)


def test_python_takes_inputs_in_order_or_by_name_and_keeps_the_types() -> None:
    tensors = {"words": torch.ones(1, 7, dtype=torch.int64), "image": torch.zeros(1, 3, 8, 8)}
    assert profile(Captions(), inputs=tensors, backward=True).macs == CAPTIONS
    assert profile(Captions(), inputs=[tensors["image"], tensors["words"]]).macs == CAPTIONS


@pytest.mark.parametrize("batch", [1, 3])
def test_the_command_line_takes_several_inputs_and_shows_what_was_counted(batch: int, tmp_path: Path) -> None:
    file = write_models(tmp_path)
    spelt = ("--input", "words=7:int64", "--input", "image=3x8x8", "--batch", str(batch))
    (entry,) = run_json(f"{file}:Captions", *spelt)
    assert entry["macs"] == batch * CAPTIONS
    assert {one["name"]: one["shape"] for one in entry["inputs"]} == {"words": [batch, 7], "image": [batch, 3, 8, 8]}
    shown = CliRunner().invoke(app, ["profile", f"{file}:Captions", *spelt]).stdout
    assert f"on words {batch}x7, image {batch}x3x8x8" in shown
    printed = CliRunner().invoke(app, ["profile", f"{file}:Captions", *spelt, "--format", "csv"]).stdout
    assert next(csv.DictReader(io.StringIO(printed)))["input_size"] == f"words {batch}x7, image {batch}x3x8x8"


def test_the_command_line_fills_dictionaries_and_lists_and_measures_with_them(tmp_path: Path) -> None:
    file = write_models(tmp_path)
    (entry,) = run_json(
        f"{file}:Batch", "--input", "batch.image=3x8x8", "--input", "batch.words=7:int64", "--measure",
        "--time-limit", "0.1",
    )  # fmt: skip
    assert entry["macs"] == CAPTIONS
    assert entry["measured"]["batch_size"] == 1
    (entry,) = run_json(f"{file}:Views", "--input", "views.0=3x8x8:unbatched", "--input", "views.1=3x4x4:unbatched")
    assert entry["macs"] == (64 + 16) * 12
    with pytest.raises(UserError, match="--input says whole shapes"):
        CliRunner().invoke(
            app, ["profile", f"{file}:Views", "--input", "3x8x8", "--input-size", "8"], catch_exceptions=False
        )


def test_videos_and_optical_flow_cost_what_torchvision_states() -> None:
    for name, shapes in {
        "r3d_18": {(1, 3, 16, 112, 112)},
        "mvit_v2_s": {(1, 3, 16, 224, 224)},
        "raft_small": {(1, 3, 512, 512)},
    }.items():
        from torchvision.models import get_model_weights

        counted = profile_source(resolve_source(f"torchvision:{name}"), QUICK)
        assert {one.shape for one in counted.inputs} == shapes
        stated = next(iter(get_model_weights(name))).meta["_ops"]
        assert round(counted.macs / 1e9, 3) == pytest.approx(stated, abs=0.0011)


@pytest.mark.parametrize("name", ["fcn_resnet50", "retinanet_resnet50_fpn"])
def test_no_weights_are_fetched_for_the_backbone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a download was asked for")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    source = resolve_source(f"torchvision:{name}")
    assert source.build is not None
    from vtbench.profiling.sources import make_subject

    assert all(one.is_meta for one in make_subject(source).original.parameters())


def test_a_builder_that_wants_to_download_is_refused_with_the_mend_and_the_network_is_given_back(
    tmp_path: Path,
) -> None:
    look_up = socket.getaddrinfo
    with pytest.raises(ProfileError, match=r"wants to download from weights\.invalid.*weights_backbone=None"):
        profile_source(resolve_source(f"{write_models(tmp_path)}:downloads"))
    assert socket.getaddrinfo is look_up


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_file_may_give_a_traced_model(tmp_path: Path) -> None:
    file = tmp_path / "traced.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n    return torch.jit.trace(nn.Conv2d(3, 4, 1).eval(), torch.randn(1, 3, 8, 8))\n",
        encoding="utf-8",
    )
    assert profile_source(resolve_source(f"{file}:build", image_size=(8, 8)), QUICK).macs == 64 * 12
