"""Maps stay channels last from the image to the loss and back: mixed layouts take several times as long."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtbench.layers.layout import subsample
from vtbench.models import create_model


@pytest.mark.parametrize("variant", ["resnet20", "vt_resnet20", "vt_resnet20:tokenizer=static", "botnet_resnet20"])
def test_every_normalisation_sees_maps_and_gradients_channels_last(variant: str) -> None:
    model = create_model(variant, num_classes=3, image_size=32).to(memory_format=torch.channels_last)
    mixed: list[str] = []

    def watch(path: str, norm: nn.Module) -> None:
        def note(map_BCHW: Tensor, direction: str) -> None:
            if not map_BCHW.is_contiguous(memory_format=torch.channels_last):
                mixed.append(f"{path} {direction}")

        def hear(_: nn.Module, inputs: Any) -> None:
            note(inputs[0], "forward")

        def hear_back(_: nn.Module, __: Any, gradients: Any) -> None:
            note(gradients[0], "backward")

        norm.register_forward_pre_hook(hear)
        norm.register_full_backward_hook(hear_back)

    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            watch(path, module)
    images = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    model(images).square().sum().backward()
    assert mixed == []


@pytest.mark.parametrize(("size", "stride"), [((6, 6), 2), ((7, 5), 2), ((8, 8), (2, 1))])
def test_subsampling_takes_every_so_manieth_cell(size: tuple[int, int], stride: int | tuple[int, int]) -> None:
    features = torch.randn(2, 3, *size)
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    assert torch.equal(subsample(features, stride), features[:, :, ::rows, ::columns])
