"""The two residual blocks of He et al. 2016 (arXiv 1512.03385, figures 2 and 5), with places to plug parts in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.backbones.sites import ConvSite, GateFactory, MapSize, SpatialFactory
from vtbench.layers.convolution import Conv2d
from vtbench.layers.layout import lay_out_like, subsample
from vtbench.layers.residual_branch import StochasticDepth

# B images, C channels, H height, W width of a map.

StrideIn = Literal["3x3", "1x1"]
Shortcut = Literal["projection", "identity"]
BlockKind = Literal["basic", "bottleneck"]
Activation = Callable[[], nn.Module]

EXPANSION: dict[BlockKind, int] = {"basic": 1, "bottleneck": 4}
"""Channels of a block's output over the stage's width."""


class ResidualBlock(nn.Module):
    """``activation(shortcut(x) + gate(branch(x)))``: (B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride)).

    A *basic* block's branch is 3x3, 3x3; a *bottleneck*'s is 1x1, 3x3, 1x1; batch normalisation follows each of
    them. Names of parameters are torchvision's (conv1, bn1, .., downsample.0, downsample.1). ``stride_in`` says which
    convolution of a bottleneck has the stride: "1x1" is the paper's first version, "3x3" is version 1.5.
    ``shortcut`` where the shape changes: "projection" (option B, 1x1 convolution) or "identity" (option A of section
    3.3: every stride-th pixel, missing channels filled with zeros, no parameters).
    ``gate`` acts after the branch's last normalisation. Stochastic depth drops the branch of single images in training.
    """

    def __init__(
        self,
        kind: BlockKind,
        in_channels: int,
        inner_channels: int,
        out_channels: int,
        stride: int,
        *,
        map_size: MapSize,
        stage: int,
        block: int,
        stride_in: StrideIn = "3x3",
        shortcut: Shortcut = "projection",
        activation: Activation = nn.ReLU,
        spatial: SpatialFactory | None = None,
        gate: GateFactory | None = None,
    ) -> None:
        super().__init__()

        def spatial_part(channels_in: int, channels_out: int, stride: int, size: MapSize, index: int) -> nn.Module:
            site = ConvSite(channels_in, channels_out, stride, size, stage, block, index)
            part = spatial(site) if spatial is not None else None
            if part is not None:
                return part
            return Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)

        out_size = shrink(map_size, stride)
        convolutions: list[nn.Module]
        if kind == "basic":
            widths = [inner_channels, out_channels]
            convolutions = [
                spatial_part(in_channels, inner_channels, stride, map_size, 0),
                spatial_part(inner_channels, out_channels, 1, out_size, 1),
            ]
        else:
            first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
            widths = [inner_channels, inner_channels, out_channels]
            convolutions = [
                Conv2d(in_channels, inner_channels, 1, stride=first, bias=False),
                spatial_part(inner_channels, inner_channels, second, shrink(map_size, first), 0),
                Conv2d(inner_channels, out_channels, 1, bias=False),
            ]
        for number, (convolution, channels) in enumerate(zip(convolutions, widths, strict=True), start=1):
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
        self.depth = len(convolutions)
        self.relu = activation()
        self.gate = gate(out_channels) if gate is not None else None
        self.downsample = _make_shortcut(shortcut, in_channels, out_channels, stride)
        self.drop_branch = StochasticDepth()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map in, map out, as the class says."""
        branch = map_BCHW
        for number in range(1, self.depth + 1):
            branch = lay_out_like(self.get_submodule(f"conv{number}")(branch), map_BCHW)
            branch = self.get_submodule(f"bn{number}")(branch)
            if number < self.depth:
                branch = self.relu(branch)
        if self.gate is not None:
            branch = self.gate(branch)
        kept = map_BCHW if self.downsample is None else self.downsample(map_BCHW)
        return self.relu(kept + self.drop_branch(branch))  # type: ignore[no-any-return]


class IdentityShortcut(nn.Module):
    """Option A: every stride-th pixel, and zeros in the channels that the input lacks, half before and half after."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        missing = out_channels - in_channels
        self.padding = (0, 0, 0, 0, missing // 2, missing - missing // 2)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))."""
        return F.pad(subsample(map_BCHW, self.stride), self.padding)


def shrink(map_size: MapSize, stride: int) -> MapSize:
    """The size of a map after a padded convolution of this stride: the side over the stride, rounded up."""
    height, width = map_size
    return -(-height // stride), -(-width // stride)


def _make_shortcut(shortcut: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    if shortcut == "identity":
        return IdentityShortcut(in_channels, out_channels, stride)
    return nn.Sequential(Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels))
