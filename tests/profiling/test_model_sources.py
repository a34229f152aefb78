"""Models from names, libraries and files; bad ones are answered with one message."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vtbench.models  # noqa: F401  # Registers the models.
from vtbench.errors import UserError
from vtbench.input_shapes import parse_image_size
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.inputs import resolve_input_shape
from vtbench.profiling.profile import ProfileSettings, profile, profile_subject
from vtbench.profiling.sources import Source, make_subject, resolve_source
from vtbench.profiling.sources_file import hash_user_file
from vtbench.records.profile import Profile

QUICK = ProfileSettings(activations=False)


def count(text: str, **settings: Any) -> Profile:
    source = resolve_source(text, **settings)
    return profile_subject(make_subject(source), (1, source.channels, *source.image_size), QUICK)


def test_a_registered_name_takes_options_and_prints_its_canonical_spelling() -> None:
    source = resolve_source("resnet50:stride_in=1x1")
    assert source.registered
    assert source.spelling == "resnet50:stride_in=1x1"
    assert resolve_source("resnet50:stride_in=3x3").spelling == "resnet50"
    assert count("resnet50:stride_in=1x1").macs == 3_857_973_248


def test_registered_models_take_another_size_and_number_of_classes() -> None:
    assert count("resnet18", num_classes=10).macs == 1_814_073_344 - 512 * 990
    assert count("resnet18", image_size=(32, 64)).input_size == (1, 3, 32, 64)


def test_models_of_timm_and_torchvision_are_taken_at_the_size_they_are_quoted_at() -> None:
    assert resolve_source("timm:vit_base_patch16_384").image_size == (384, 384)
    assert resolve_source("timm:vit_base_patch16_224", image_size=(64, 64)).image_size == (64, 64)
    assert resolve_source("torchvision:inception_v3").image_size == (299, 299)
    assert resolve_source("torchvision:vit_h_14").image_size == (224, 224)
    assert count("torchvision:resnet18").macs == count("timm:resnet18").macs == 1_814_073_344
    small = count("timm:vit_base_patch16_224", image_size=(64, 64), channels=1, num_classes=10)
    assert small.macs == 16 * 256 * 768 + 12 * (12 * 17 * 768**2 + 2 * 17**2 * 768) + 7680


def test_a_model_that_computes_while_it_is_built_allocates_no_weights() -> None:
    """RegNet reads values of small tensors; the largest has 645 M parameters, 2.6 GB."""
    subject = make_subject(resolve_source("torchvision:regnet_y_128gf"))
    assert all(tensor.is_meta for tensor in (*subject.original.parameters(), *subject.original.buffers()))


@pytest.mark.parametrize("name", ["resnet51", "timm:resnet5o", "torchvision:resnet19", "timm:", "nosuch:x=1"])
def test_a_name_that_is_not_there_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UserError, match=r"no model named|is not a model"):
        resolve_source(name)


def test_options_of_foreign_models_stand_behind_a_comma_and_go_to_what_builds_them() -> None:
    small = resolve_source("timm:vit_tiny_patch16_224,patch_size=4, img_size=32")
    assert (small.spelling, small.image_size) == ("timm:vit_tiny_patch16_224,img_size=32,patch_size=4", (32, 32))
    assert count(small.spelling).macs == 64 * 48 * 192 + 12 * (12 * 65 * 192**2 + 2 * 65**2 * 192) + 192_000
    wide = count("torchvision:resnet50,width_per_group=128").macs
    assert wide == count("torchvision:wide_resnet50_2").macs
    assert count("timm:resnet18,act_layer=gelu").macs == count("resnet18").macs


@pytest.mark.parametrize(
    ("spelling", "mend"),
    [
        ("timm:resnet18,num_classes=5", "the data say"),
        ("timm:resnet18,pretrained=true", "--init"),
        ("torchvision:resnet18,weights=DEFAULT", "--init"),
        ("timm:resnet18,patch=4", "takes no option 'patch'"),
        ("torchvision:resnet18,patch=4", "takes no option 'patch'"),
        ("timm:resnet18,patch", "is not option=value"),
    ],
)
def test_an_option_that_a_library_does_not_take_is_one_message(spelling: str, mend: str) -> None:
    with pytest.raises(UserError, match=mend):
        count(spelling, image_size=(32, 32))


def test_a_file_is_told_what_its_callable_asks_for_and_takes_options(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "from torch import nn\n"
        "def own(width=4, num_classes=7):\n    return nn.Conv2d(3, width * num_classes, 1)\n"
        "def told(num_classes, image_size):\n    return nn.Conv2d(3, num_classes, image_size)\n",
    )
    assert count(f"{file}:own", image_size=(8, 8)).macs == 64 * 3 * 28
    assert count(f"{file}:own,width=2", image_size=(8, 8), num_classes=5).macs == 64 * 3 * 10
    assert count(f"{file}:told").macs == 3 * 224 * 224 * 1000
    assert count(f"{file}:told", image_size=(4, 6), num_classes=2).macs == 3 * 24 * 2
    with pytest.raises(UserError, match=r"takes no 'widht'. Did you mean 'width'"):
        count(f"{file}:own,widht=3")
    with pytest.raises(UserError, match="no option 'num_classes' to spell"):
        count(f"{file}:own,num_classes=3")


def test_two_files_have_each_their_own_module_of_one_name_and_the_hash_knows_it(tmp_path: Path) -> None:
    for channels, folder in ((5, tmp_path / "a"), (9, tmp_path / "b")):
        folder.mkdir()
        (folder / "beside.py").write_text(f"CHANNELS = {channels}\n", encoding="utf-8")
        write(folder, "from torch import nn\nimport beside\ndef net():\n    return nn.Conv2d(3, beside.CHANNELS, 1)\n")
    first, second = tmp_path / "a" / "networks.py", tmp_path / "b" / "networks.py"
    assert [count(f"{file}:net", image_size=(1, 1)).macs for file in (first, second, first)] == [15, 27, 15]
    assert "beside" not in sys.modules
    assert len({hash_user_file(first), hash_user_file(second)}) == 2
    before = hash_user_file(first)
    (tmp_path / "a").rename(tmp_path / "moved")
    assert hash_user_file(tmp_path / "moved" / "networks.py") == before


def write(folder: Path, text: str) -> Path:
    file = folder / "networks.py"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_of_the_user_is_imported_only_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("CHANNELS = 5\n", encoding="utf-8")
    file = write(
        tmp_path,
        "from torch import nn\nfrom beside import CHANNELS\n"
        "def small():\n    return nn.Conv2d(3, CHANNELS, 1)\n"
        "class Large(nn.Conv2d):\n    def __init__(self):\n        super().__init__(3, 7, 1)\n"
        "ready = nn.Conv2d(3, 9, 1)\n",
    )
    path = list(sys.path)
    assert count(f"{file}:small", image_size=(8, 8)).macs == 64 * 15
    assert count(f"{file}:Large", image_size=(8, 8)).macs == 64 * 21
    assert count(f"{file}:ready", image_size=(8, 8)).macs == 64 * 27
    assert sys.path == path


BAD_FILES = {
    "returns_number": "returns_number gave a int, and a torch.nn.Module is needed",
    "raises": "cannot be built: ValueError: too many layers",
    "needs_arguments": "missing 1 required positional argument",
    "NUMBER": "is a int and cannot be called",
    "nothing": "defines no 'nothing'",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_callable_that_gives_no_model_is_named_with_the_cause(name: str, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "def returns_number():\n    return 3\n"
        "def raises():\n    raise ValueError('too many layers')\n"
        "def needs_arguments(width):\n    pass\nNUMBER = 3\n",
    )
    with pytest.raises(UserError, match=BAD_FILES[name]):
        make_subject(resolve_source(f"{file}:{name}"))


def test_a_file_that_cannot_be_run_is_named_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        make_subject(resolve_source(f"{tmp_path}/absent.py:build"))
    with pytest.raises(UserError, match="SyntaxError"):
        make_subject(resolve_source(f"{write(tmp_path, 'def (')}:build"))
    with pytest.raises(UserError, match="ends the program"):
        make_subject(resolve_source(f"{write(tmp_path, 'raise SystemExit(3)')}:build"))
    with pytest.raises(UserError, match="no model in it"):
        resolve_source("networks.py")


@pytest.mark.parametrize("text", ["0", "0x5", "224x", "x", "-3", "1e3", "224x224x3", "two", "99999999999"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="image size"):
        parse_image_size(text)


def test_sizes_are_a_side_or_height_by_width() -> None:
    assert parse_image_size("224") == (224, 224)
    assert parse_image_size("320x480") == (320, 480)
    assert resolve_input_shape(8) == (1, 3, 8, 8)
    assert resolve_input_shape((6, 8), channels=1, batch_size=2) == (2, 1, 6, 8)
    assert resolve_input_shape((4, 6, 8), batch_size=2) == (2, 4, 6, 8)
    assert resolve_input_shape((5, 4, 6, 8)) == (5, 4, 6, 8)
    for size in ((1, 2, 3, 4, 5), (0, 3, 8, 8), (3, 0, 8), ()):
        with pytest.raises(UserError):
            resolve_input_shape(size)


def test_a_size_that_a_model_cannot_take_names_model_and_cause() -> None:
    with pytest.raises(
        ProfileError, match=r"torchvision:alexnet: the model fails on an input of 1x3x8x8: RuntimeError"
    ):
        count("torchvision:alexnet", image_size=(8, 8))
    with pytest.raises(ProfileError, match=r"timm:swin_tiny.*fails on an input of 1x3x50x50: AssertionError"):
        subject = make_subject(resolve_source("timm:swin_tiny_patch4_window7_224"))
        profile_subject(subject, (1, 3, 50, 50), QUICK)


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet18"])
def test_channels_that_a_model_cannot_take_name_model_and_cause(name: str) -> None:
    with pytest.raises(ProfileError, match=rf"{name}: the model fails on an input of 1x4x224x224: RuntimeError"):
        count(name, channels=4)


def test_a_huge_size_is_counted_without_memory_or_refused_with_the_cause() -> None:
    assert count("resnet18", image_size=(16384, 16384)).macs > 9_000_000_000_000
    with pytest.raises(ProfileError, match="fails on an input"):
        profile(nn.Conv2d(3, 4, 1), (2**40, 3, 2**20, 2**20))


def test_a_thing_that_is_no_module_is_refused() -> None:
    with pytest.raises(UserError, match=r"got function, and a torch\.nn\.Module is needed"):
        profile(torch.relu if False else lambda x: x, 8)  # type: ignore[arg-type]


class NeedsValues(nn.Module):
    """Keeps the positive cells: how many, only values tell."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 4)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.layer(images_BCHW[images_BCHW.abs() >= 0][:, None])


def test_a_model_that_needs_values_is_traced_with_them_and_says_so() -> None:
    counted = profile(NeedsValues(), 8)
    assert counted.macs == 3 * 64 * 4
    assert counted.traced_on == "cpu"
    assert any("traced with real tensors, because the model needs values" in note for note in counted.notes)


def test_a_model_that_needs_values_is_not_tried_on_a_huge_input() -> None:
    with pytest.raises(ProfileError, match="too large"):
        profile(NeedsValues(), 8192)


def test_tensors_made_without_a_device_do_not_end_the_trace_without_values() -> None:
    class Making(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.constant = nn.Conv2d(3, 4, 1), torch.ones(4, 1, 1)

        def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
            return self.layer(images_BCHW) * self.constant + torch.arange(8)

    counted = profile(Making(), 8)
    assert (counted.traced_on, counted.macs) == ("meta", 64 * 12)


def test_tensors_that_a_model_makes_with_values_are_filled_while_it_is_built() -> None:
    class Computing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kept = torch.ones(3, device="cpu").fill_(2.0).mul_(3.0).clamp_(max=5.0)
            counts = torch.zeros(2, dtype=torch.int64, device="cpu").fill_(4)
            self.linear = nn.Linear(int(kept.sum()), int(counts[0]))
            nn.init.trunc_normal_(self.linear.weight, std=0.02)

    model = make_subject(Source("computing", Computing, (8, 8))).meta
    assert isinstance(model, Computing)
    assert (model.linear.in_features, model.linear.out_features) == (15, 4)
    assert model.linear.weight.is_meta


def test_a_mistake_in_an_initialisation_is_reported() -> None:
    class Mistaken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 3))
            with torch.no_grad():
                self.weight.add_(torch.zeros(4, 5))

    with pytest.raises(ProfileError, match="cannot be built"):
        make_subject(Source("mistaken", Mistaken, (8, 8)))
