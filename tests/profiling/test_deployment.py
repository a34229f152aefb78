"""Models that are trained in one form and deployed in another, and parameters that never run."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from vtbench.profiling import profile
from vtbench.profiling.deployment import fuse_subject
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source
from vtbench.profiling.subject import take_subject

CELLS = 6 * 6
NOTE = "counted in the form for training; --fuse merges its branches, as for deployment (Branched x1)"


class Branches(nn.Module):
    """``3x3(x) + 1x1(x)``, which one 3x3 convolution can compute."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(4, 5, 1)
        self.merged: nn.Conv2d | None = None

    def forward(self, map_BCHW: Tensor) -> Tensor:
        if self.merged is not None:
            return self.merged(map_BCHW)
        return self.large(map_BCHW) + self.small(map_BCHW)

    def merge(self) -> nn.Conv2d:
        self.merged = nn.Conv2d(4, 5, 3, padding=1)
        padded = nn.functional.pad(self.small.weight, [1, 1, 1, 1])
        self.merged.weight.data = self.large.weight.data + padded
        self.merged.bias.data = self.large.bias.data + self.small.bias.data
        del self.large, self.small
        return self.merged


class Branched(Branches):
    def reparameterize(self) -> None:
        self.merge()


class Switched(Branches):
    def switch_to_deploy(self) -> None:
        self.merge()


class Replaced(Branches):
    def fuse(self) -> nn.Module:
        return self.merge()


def test_a_model_of_branches_says_in_which_form_it_was_counted() -> None:
    counted = profile(nn.Sequential(Branched()), 6, channels=4)
    assert counted.macs == CELLS * 4 * 5 * (9 + 1)
    assert counted.notes == (NOTE,)


@pytest.mark.parametrize("kind", [Branched, Switched, Replaced])
def test_the_deployed_form_is_counted_and_the_model_stays_as_it_is(kind: type[Branches]) -> None:
    model = kind()
    before = copy.deepcopy(model.state_dict())
    for tried in (model, nn.Sequential(model)):
        counted = profile(tried, 6, channels=4, fuse=True)
        assert (counted.macs, counted.params) == (CELLS * 4 * 5 * 9, 4 * 5 * 9 + 5)
        assert counted.notes == ()
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_measured_of_the_deployed_form_computes_the_same() -> None:
    model = nn.Sequential(Branched()).eval()
    merged = fuse_subject(take_subject(model, "branched")).build_real()
    image = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(merged(image), model(image))
    assert len(list(merged.parameters())) == 2


def test_a_model_without_branches_says_that_there_is_nothing_to_fuse() -> None:
    counted = profile(nn.Conv2d(3, 4, 1), 6, fuse=True)
    assert (counted.macs, counted.notes) == (CELLS * 12, ("nothing of it can be fused",))


def test_norms_that_fold_into_layers_are_no_other_form() -> None:
    """LeViT folds its norms: fewer parameters, the same products."""
    source = resolve_source("timm:levit_128s")
    trained = profile_source(source, ProfileSettings(activations=False))
    folded = profile_source(source, ProfileSettings(activations=False, fuse=True))
    assert trained.notes == ()
    assert trained.macs == folded.macs
    assert trained.params > folded.params


def test_a_model_that_cannot_be_fused_is_refused_only_where_that_was_asked() -> None:
    class Broken(Branched):
        def reparameterize(self) -> None:
            raise KeyError("no kernel")

    assert profile(Broken(), 6, channels=4).macs == CELLS * 4 * 5 * 10
    with pytest.raises(ProfileError, match="Broken: the model cannot be fused: KeyError: 'no kernel'"):
        profile(Broken(), 6, channels=4, fuse=True)


@pytest.mark.parametrize(
    ("name", "macs_m", "params_m"),
    [
        ("repvgg_a0", 1361.45, 8.31),
        ("mobileone_s0", 275.11, 2.08),
        ("ghostnetv3_100", 167.05, 6.15),
        ("fastvit_t8", 685.16, 4.00),
        ("repvit_m1", 815.62, 5.07),
    ],
)
def test_published_costs_are_those_of_the_deployed_form(name: str, macs_m: float, params_m: float) -> None:
    """timm's benchmark of compiled models prints 1.36, 0.28, 0.17, 0.69, 0.82 G and these parameters."""
    settings = ProfileSettings(activations=False, fuse=True)
    counted = profile_source(resolve_source(f"timm:{name}"), settings)
    assert (round(counted.macs / 1e6, 2), round(counted.params / 1e6, 2)) == (macs_m, params_m)
    assert counted.covered_macs == counted.macs


def test_auxiliary_heads_stand_apart_in_the_parameters() -> None:
    """GoogLeNet: two heads of a 1x1 convolution with its norm, 2048 -> 1024 -> 1000."""
    heads = sum(channels * 128 + 2 * 128 + 2048 * 1024 + 1024 + 1024 * 1000 + 1000 for channels in (512, 528))
    counted = profile_source(resolve_source("torchvision:googlenet"), ProfileSettings(activations=False))
    assert (counted.parameters.idle, counted.parameters.idle_parts) == (heads, ("aux1", "aux2"))
    trained = profile_source(resolve_source("torchvision:googlenet"), ProfileSettings(activations=False, training=True))
    assert (trained.parameters.idle, trained.parameters.idle_parts) == (0, ())


def test_a_parameter_that_is_used_without_its_module_runs() -> None:
    class Borrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare, self.scale = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(torch.ones(4))
            self.shared = self.used

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.used.weight)

    counted = profile(Borrowing(), inputs=[torch.zeros(2, 4)])
    assert counted.parameters.idle == 4 + 20 + 4
    assert counted.parameters.idle_parts == ("scale", "used.bias", "spare")


def test_the_parameters_of_multi_head_attention_run() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert profile(layer, inputs=[torch.zeros(1, 5, 8)]).parameters.idle == 0
