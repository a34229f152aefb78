from copy import deepcopy

import pytest
import torch
from torch import nn

from vtbench.models import create_model
from vtbench.training.strided_convolution import subsample_first


def list_strided_pointwise(network: nn.Module) -> list[nn.Conv2d]:
    return [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
    ]


@pytest.mark.parametrize("variant", ["resnet18:stem=small,width=8", "fpn_resnet18:stem=small,width=8"])
def test_strided_convolutions_of_few_channels_subsample_first_and_are_the_same_function(variant: str) -> None:
    network = create_model(variant, num_classes=5).double()
    images_BCHW = torch.randn(2, 3, 33, 40, dtype=torch.float64)
    changed = deepcopy(network)
    subsample_first(changed)
    assert [module.in_channels for module in list_strided_pointwise(network)] == [8, 16, 32]
    assert [module.in_channels for module in list_strided_pointwise(changed)] == [16, 32]
    changed = deepcopy(changed)  # As weights that are averaged are kept.
    assert list(changed.state_dict()) == list(network.state_dict())
    scores = [model(images_BCHW) for model in (network, changed)]
    torch.testing.assert_close(scores[1], scores[0])
    for found in scores:
        found.square().sum().backward()
    for ours, theirs in zip(changed.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_padded_grouped_and_unstrided_convolutions(subtests: pytest.Subtests) -> None:
    images_BCHW = torch.randn(2, 8, 9, 9)
    for setting, stride in (
        ({"stride": 2, "padding": 1}, (2, 2)),
        ({"stride": 1}, (1, 1)),
        ({"stride": (2, 1), "groups": 2, "bias": True}, (1, 1)),
    ):
        with subtests.test(**setting):
            conv = nn.Conv2d(8, 8, 1, **setting)
            expected = conv(images_BCHW)
            subsample_first(conv)
            assert conv.stride == stride
            torch.testing.assert_close(conv(images_BCHW), expected)
