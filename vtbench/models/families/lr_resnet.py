"""LR-Net: every 3x3 convolution and the stem of a ResNet of bottlenecks become local relation layers.

Hu et al. 2019, Local Relation Networks for Image Recognition (arXiv 1904.11491), table 1. The inner width of the four
stages is 100, 200, 400, 800. "26" has 2 blocks a stage. How the paper's 18-layer network is laid out could not be found
out, so there is none here.
"""

from __future__ import annotations

from functools import partial
from typing import Unpack

from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.local_relation import LocalRelation, LocalRelationOptions
from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import Stem
from vtbench.layers.convolution import Conv2d
from vtbench.models.residual import DEPTHS, StrideOptions, plug_in
from vtbench.variants import Setting, register_model

_DEPTHS = {26: (2, 2, 2, 2), 50: DEPTHS[50][1], 101: DEPTHS[101][1]}
_INNER_WIDTHS = (100, 200, 400, 800)


class LRResNetOptions(LocalRelationOptions, StrideOptions):
    """Options of all depths."""


def make_local_relation_stem(options: LRResNetOptions) -> Stem:
    """A 1x1 convolution 3 -> 64, a local relation layer with stride 2, a 3x3 max-pool with stride 2."""
    layer = LocalRelation(64, 64, kernel_size=options.kernel_size, stride=2, channels_per_map=options.channels_per_map)
    conv = nn.Sequential(Conv2d(3, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), layer)
    return Stem(conv, nn.BatchNorm2d(64), nn.MaxPool2d(3, stride=2, padding=1), out_channels=64, stride=4)


def build_lr_resnet(depth: int, options: LRResNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """The network of ``depth`` layers, all of whose 3x3 convolutions are local relation layers."""
    return ResNet(
        "bottleneck",
        _DEPTHS[depth],
        inner_widths=_INNER_WIDTHS,
        stem=make_local_relation_stem(options),
        **setting,
        stride_in=options.stride_in,
        **plug_in(ATTENTION_BLOCKS["lr"], options, dict.fromkeys((2, 3, 4, 5), (0,))),
    )


for _depth in _DEPTHS:
    register_model(
        f"lr_resnet{_depth}",
        partial(build_lr_resnet, _depth),
        LRResNetOptions(),
        family="lr_resnet",
        source="Hu et al. 2019, arXiv 1904.11491, table 1",
        twin=f"resnet{_depth}" if _depth in DEPTHS else None,
        look=ATTENTION_BLOCKS["lr"].look,
    )
