"""Where a part is plugged into a residual network: what its factory is told when the network is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

MapSize = tuple[int, int]
"""Height and width of a feature map in cells."""


@dataclass(frozen=True)
class ConvSite:
    """The place of one 3x3 convolution inside a residual block.

    Whatever a factory puts here maps (B, ``in_channels``, h, w) to (B, ``out_channels``, ceil(h / stride),
    ceil(w / stride)); batch normalisation and activation follow in the block. A pool must therefore use
    ``ceil_mode=True``. ``map_size`` is (h, w) of the *input* for images of the size the model was built for.
    """

    in_channels: int
    out_channels: int
    stride: int
    map_size: MapSize
    stage: int
    """2 for the stage after the stem (``layer1``), 5 for the last of four."""
    block: int
    """Index of the block in its stage, from 0."""
    index: int
    """0 for the first 3x3 of the block (the only one of a bottleneck), 1 for the second one of a basic block."""


@dataclass(frozen=True)
class BlockSite:
    """The place right after one residual block: a unit put here maps (B, ``channels``, h, w) to the same shape."""

    channels: int
    map_size: MapSize
    stage: int
    block: int


@dataclass(frozen=True)
class Stem:
    """What stands before the first stage: ``norm`` and the activation follow ``conv``, then ``pool``.

    ``stride`` is the whole reduction of the side: a map of side s becomes ceil(s / stride).
    """

    conv: nn.Module
    norm: nn.Module
    pool: nn.Module
    out_channels: int
    stride: int


@dataclass(frozen=True)
class LastStage:
    """What stands in the place of the last stage, and how its output becomes the features of the classifier.

    ``module`` takes the map of the stage before; ``pool`` takes what that gives and returns (B, ``out_channels``).
    """

    module: nn.Module
    pool: nn.Module
    out_channels: int


SpatialFactory = Callable[[ConvSite], nn.Module | None]
"""Gives the part that stands in the place of a 3x3 convolution, or None to keep the convolution."""

GateFactory = Callable[[int], nn.Module]
"""Given the channels of a block's output, gives a gate (B, C, h, w) -> (B, C, h, w) such as squeeze-and-excitation."""

UnitFactory = Callable[[BlockSite], nn.Module | None]
"""Gives the unit that follows a residual block, or None for no unit."""

LastStageFactory = Callable[[int, MapSize], LastStage]
"""Given the channels and the size of the map that enters the last stage, gives what replaces that stage."""

NeckFactory = Callable[[Sequence[BlockSite]], nn.Module]
"""Given the ends of the stages, gives what takes their maps, one argument each, and returns maps of one width."""

HeadFactory = Callable[[tuple[int, ...]], nn.Module]
"""Given the channels of the stages' outputs, gives what takes these outputs, first to last, one argument each."""
