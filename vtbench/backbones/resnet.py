"""One residual network that every later system plugs into (He et al. 2016, arXiv 1512.03385)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from vtbench.backbones.residual_block import EXPANSION, Activation, BlockKind, ResidualBlock, Shortcut, StrideIn, shrink
from vtbench.backbones.sites import (
    BlockSite,
    GateFactory,
    HeadFactory,
    LastStageFactory,
    SpatialFactory,
    Stem,
    UnitFactory,
)
from vtbench.layers.convolution import Conv2d
from vtbench.layers.pointwise import Classifier

# B images, C channels, H height, W width of a map.

StemKind = Literal["imagenet", "small"]


class ResNet(nn.Module):
    """Stem, residual stages, head. Images (B, 3, H, W) -> scores (B, num_classes), or what another head gives.

    The head is the mean over the map, dropout and a linear classifier to ``num_classes``; or what ``head`` makes; with
    neither, the network is a trunk that returns the outputs of all stages, see `forward_stages`.

    Names of parameters are torchvision's (conv1, bn1, layer1.., fc), so its state dicts load unchanged. Stage s of the
    paper is ``layer{s-1}``; ``stage_names`` says so. Images of any size run; ``image_size`` (height, width) is what the
    sizes told to the factories are derived from.

    Numbers. ``depths``: blocks of each stage. ``width``: channels of the first stage; each later one doubles it, and a
    bottleneck's output has four times that. ``inner_widths``: inner channels of the blocks of each stage, if other than
    the stage's width. ``strides``: of the first block of each stage. ``stem``: "imagenet" (7x7 stride 2, 3x3 max-pool
    stride 2), "small" (3x3 stride 1, section 4.2) or a `Stem` of your own, whose parts become ``conv1``, ``bn1``,
    ``maxpool``. ``stride_in``, ``shortcut``: see `ResidualBlock`.

    ``stage_ends`` are the places after each stage, save one that is replaced.

    Places to plug parts in; each factory is called while the network is built (see `sites` for what it is told):

    - ``spatial(ConvSite)``: instead of a 3x3 convolution of a block; None keeps the convolution.
    - ``gate(channels)``: on the residual branch of every block, after its last normalisation, before the addition.
    - ``unit(BlockSite)``: after a block; None for no unit. Its name in the stage is ``unit{block}``.
    - ``last_stage(in_channels, map_size)``: a `LastStage` instead of the last stage and of the mean over the map. The
      last entry of ``depths`` is then not used. Parameters stay under the name of the last layer.
    - ``activation()``: instead of ReLU, everywhere.
    - ``head(channels)``: told the channels of every stage's output, first to last; its module, the child ``head``, is
      called with those outputs, one argument each.

    Convolutions start from He's normal distribution by fan-out, normalisation at weight 1 and bias 0, as torchvision's.
    """

    def __init__(
        self,
        block: BlockKind,
        depths: Sequence[int],
        *,
        image_size: tuple[int, int],
        num_classes: int | None = None,
        width: int = 64,
        inner_widths: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        stem: StemKind | Stem = "imagenet",
        stride_in: StrideIn = "3x3",
        shortcut: Shortcut = "projection",
        activation: Activation = nn.ReLU,
        spatial: SpatialFactory | None = None,
        gate: GateFactory | None = None,
        unit: UnitFactory | None = None,
        last_stage: LastStageFactory | None = None,
        head: HeadFactory | None = None,
    ) -> None:
        super().__init__()
        if head is not None and num_classes is not None:
            raise ValueError(f"a network has one head: it was given head= and a classifier of {num_classes} classes")
        widths = [width * 2**number for number in range(len(depths))]
        inner_widths = inner_widths if inner_widths is not None else widths
        strides = strides if strides is not None else (1,) + (2,) * (len(depths) - 1)
        build = partial(
            ResidualBlock,
            block,
            stride_in=stride_in,
            shortcut=shortcut,
            activation=activation,
            spatial=spatial,
            gate=gate,
        )
        parts = stem if isinstance(stem, Stem) else make_stem(stem, width)
        self.conv1, self.bn1, self.relu, self.maxpool = parts.conv, parts.norm, activation(), parts.pool
        self.layer_names = tuple(f"layer{number}" for number in range(1, len(depths) + 1))
        in_channels, map_size = parts.out_channels, shrink(image_size, parts.stride)
        ends: list[BlockSite] = []
        channels = [width_ * EXPANSION[block] for width_ in widths]
        for number, name in enumerate(self.layer_names[: len(depths) - (last_stage is not None)]):
            sizes = (in_channels, inner_widths[number], channels[number])
            stage = _make_stage(build, unit, number + 2, depths[number], sizes, strides[number], map_size)
            self.add_module(name, stage)
            in_channels, map_size = channels[number], shrink(map_size, strides[number])
            ends.append(BlockSite(in_channels, map_size, number + 2, depths[number] - 1))
        self.stage_ends = tuple(ends)
        pool: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if last_stage is not None:
            replaced = last_stage(in_channels, map_size)
            self.add_module(self.layer_names[-1], replaced.module)
            pool, channels[-1] = replaced.pool, replaced.out_channels
        self.has_classifier = num_classes is not None
        if num_classes is not None:
            self.avgpool, self.dropout, self.fc = pool, nn.Dropout(0.0), Classifier(channels[-1], num_classes)
        self.head = head(tuple(channels)) if head is not None else None
        stages = {name: f"stage{number}" for number, name in enumerate(self.layer_names, start=2)}
        stages |= dict.fromkeys(("conv1", "bn1", "relu", "maxpool"), "stem")
        self.stage_names = {name: stages.get(name, "head") for name, _ in self.named_children()}

    def forward(self, images_BCHW: Tensor) -> Any:
        """Images to class scores, to what ``head`` gives, or to the outputs of all stages."""
        outputs = self.forward_stages(images_BCHW)
        if self.has_classifier:
            return self.fc(self.dropout(self.avgpool(outputs[-1])))
        return outputs if self.head is None else self.head(*outputs)

    def forward_stages(self, images_BCHW: Tensor) -> list[Tensor]:
        """The outputs of all stages, first to last: maps (B, C, H, W), save where the last stage was replaced."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images_BCHW))))
        outputs = []
        for name in self.layer_names:
            hidden = self.get_submodule(name)(hidden)
            outputs.append(hidden)
        return outputs


def make_stem(kind: StemKind, width: int) -> Stem:
    """The two stems of the paper: for ImageNet (table 1) and for small images (section 4.2)."""
    norm = nn.BatchNorm2d(width)
    if kind == "imagenet":
        conv = Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        return Stem(conv, norm, nn.MaxPool2d(3, stride=2, padding=1), out_channels=width, stride=4)
    return Stem(Conv2d(3, width, 3, padding=1, bias=False), norm, nn.Identity(), out_channels=width, stride=1)


def _make_stage(
    build: partial[ResidualBlock],
    unit: UnitFactory | None,
    stage: int,
    depth: int,
    channels: tuple[int, int, int],
    stride: int,
    map_size: tuple[int, int],
) -> nn.Sequential:
    """The blocks of one stage and their units. ``channels``: of the stage's input, inside its blocks, of its output."""
    in_channels, inner_channels, out_channels = channels
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(depth):
        parts[str(index)] = build(
            in_channels, inner_channels, out_channels, stride, map_size=map_size, stage=stage, block=index
        )
        in_channels, map_size, stride = out_channels, shrink(map_size, stride), 1
        added = unit(BlockSite(out_channels, map_size, stage, index)) if unit is not None else None
        if added is not None:
            parts[f"unit{index}"] = added
    return nn.Sequential(parts)
