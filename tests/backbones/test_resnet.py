import pytest
import torch
import torchvision
from torch import nn

from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import BlockSite, ConvSite, LastStage, Stem

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}


def small(**options) -> ResNet:
    numbers = {"image_size": (33, 40), "num_classes": 5, "width": 4, "stem": "small"} | options
    return ResNet("bottleneck", (2, 2, 1), **numbers)


def describe(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", DEPTHS)
def test_state_dicts_of_torchvision_load_and_outputs_agree(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=10).eval()
    for module in theirs.modules():  # Random statistics, so that a swapped normalisation would show.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    block = "basic" if name in ("resnet18", "resnet34") else "bottleneck"
    ours = ResNet(block, DEPTHS[name], image_size=(64, 96), num_classes=10).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(
            ours(images) / expected.abs().max(), expected / expected.abs().max(), atol=1e-5, rtol=0
        )


def test_stride_in_the_first_convolution_is_version_1():
    first, second = small(stride_in="1x1"), small(stride_in="3x3")
    assert describe(first) == describe(second)
    blocks = [model.get_submodule("layer2.0") for model in (first, second)]
    assert [(b.conv1.stride, b.conv2.stride) for b in blocks] == [((2, 2), (1, 1)), ((1, 1), (2, 2))]


def test_identity_shortcuts_have_no_parameters_and_keep_the_pixels():
    model = small(shortcut="identity")
    assert not any("downsample" in name for name in describe(model))
    shortcut = model.get_submodule("layer2.0.downsample")
    kept = shortcut(torch.ones(1, 16, 5, 7))
    assert kept.shape == (1, 32, 3, 4)
    assert kept.sum() == 16 * 12


def test_spatial_factories_are_told_channels_stride_and_the_size_of_the_map_that_arrives():
    sites: list[ConvSite] = []

    def spatial(site: ConvSite) -> nn.Module | None:
        sites.append(site)
        return nn.Conv2d(site.in_channels, site.out_channels, 1, stride=site.stride) if site.stage == 3 else None

    model = small(spatial=spatial)
    arrived = {}
    for site in sites:
        conv = model.get_submodule(f"layer{site.stage - 1}.{site.block}.conv2")
        assert conv.kernel_size == ((1, 1) if site.stage == 3 else (3, 3))
        conv.register_forward_hook(lambda _, inputs, output, site=site: arrived.update({site: (inputs[0], output)}))
    model(torch.randn(2, 3, 33, 40))
    for site, (given, output) in arrived.items():
        assert given.shape == (2, site.in_channels, *site.map_size)
        assert output.shape == (2, site.out_channels, *(-(-side // site.stride) for side in site.map_size))
    assert len(arrived) == 5


def test_basic_blocks_offer_both_convolutions():
    indices = []
    ResNet("basic", (1,), image_size=(8, 8), num_classes=2, width=4, spatial=lambda site: indices.append(site.index))
    assert indices == [0, 1]


def test_a_gate_acts_on_the_branch_and_not_on_the_shortcut():
    class Zero(nn.Module):
        def forward(self, branch):
            return branch * 0

    model = small(gate=lambda channels: Zero()).eval()
    block = model.get_submodule("layer1.1")
    positive = torch.rand(1, 16, 6, 6)
    torch.testing.assert_close(block(positive), positive)


def test_units_follow_the_chosen_block_and_leave_the_other_names_alone():
    sites: list[BlockSite] = []

    class Unit(nn.Module):
        def forward(self, hidden):
            sites.append(tuple(hidden.shape))
            return hidden

    model = small(unit=lambda site: Unit() if (site.stage, site.block) == (3, 1) else None)
    assert describe(model) == describe(small())
    assert list(dict(model.get_submodule("layer2").named_children())) == ["0", "1", "unit1"]
    model(torch.randn(1, 3, 33, 40))
    assert sites == [(1, 32, 17, 20)]


def test_the_last_stage_can_be_replaced_with_its_own_pooling():
    told = []

    def last_stage(in_channels: int, map_size: tuple[int, int]) -> LastStage:
        told.append((in_channels, map_size))
        return LastStage(nn.Conv2d(in_channels, 3, 1), nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), 3)

    model = small(last_stage=last_stage)
    assert told == [(32, (17, 20))]
    assert model(torch.randn(2, 3, 33, 40)).shape == (2, 5)
    assert model.fc.in_features == 3
    assert set(describe(model)) & set(describe(small())) >= {"layer2.1.conv1.weight", "fc.weight"}


def test_an_own_stem_takes_the_names_of_the_stem():
    stem = Stem(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.Identity(), out_channels=6, stride=4)
    sizes = []
    model = small(stem=stem, image_size=(32, 64), spatial=lambda site: sizes.append(site.map_size))
    assert sizes[0] == (8, 16)
    assert model(torch.randn(1, 3, 32, 64)).shape == (1, 5)
    assert model.conv1 is stem.conv


def test_every_child_belongs_to_a_stage():
    model = small()
    assert list(model.stage_names) == [name for name, _ in model.named_children() if name in model.stage_names]
    assert set(model.stage_names) == {name for name, _ in model.named_children()}
    assert model.stage_names["conv1"] == "stem"
    assert model.stage_names["layer3"] == "stage4"
    assert model.stage_names["fc"] == "head"


def test_strides_and_inner_widths_can_be_given():
    model = small(strides=(1, 2, 1), inner_widths=(5, 9, 20))
    first, second, third = model.forward_stages(torch.randn(1, 3, 32, 32))
    assert (first.shape[1:], second.shape[1:], third.shape[1:]) == ((16, 32, 32), (32, 16, 16), (64, 16, 16))
    assert model.get_submodule("layer3.0").conv2.out_channels == 20


def test_a_trunk_returns_the_maps_of_all_stages_and_has_no_classifier():
    trunk, classifier = small(num_classes=None), small()
    assert set(describe(classifier)) - set(describe(trunk)) == {"fc.weight", "fc.bias"}
    assert [tuple(one.shape) for one in trunk(torch.randn(2, 3, 33, 40))] == [
        (2, 16, 33, 40),
        (2, 32, 17, 20),
        (2, 64, 9, 10),
    ]
    assert "head" not in trunk.stage_names.values()


def test_a_head_is_told_the_channels_of_all_stages_and_takes_their_outputs():
    class Mean(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.mix = nn.Linear(sum(channels), 3)

        def forward(self, *maps):
            return self.mix(torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1))

    model = small(num_classes=None, head=Mean)
    assert model(torch.randn(2, 3, 33, 40)).shape == (2, 3)
    assert set(describe(model)) - set(describe(small())) == {"head.mix.weight", "head.mix.bias"}
    assert model.stage_names["head"] == "head"


def test_a_head_knows_the_width_of_a_stage_that_was_replaced():
    told = []

    def last_stage(in_channels: int, map_size: tuple[int, int]) -> LastStage:
        return LastStage(nn.Conv2d(in_channels, 3, 1), nn.Identity(), 3)

    small(num_classes=None, last_stage=last_stage, head=lambda channels: told.append(channels) or nn.Identity())
    assert told == [(16, 32, 3)]


def test_two_heads_are_refused():
    with pytest.raises(ValueError, match="one head: it was given head= and a classifier of 5 classes"):
        small(head=lambda channels: nn.Identity())
