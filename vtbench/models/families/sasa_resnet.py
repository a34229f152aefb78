"""Fully attentional ResNet-26/38/50: stand-alone attention for every 3x3 convolution, and for the stem if wanted.

Ramachandran et al. 2019, Stand-Alone Self-Attention in Vision Models (arXiv 1906.05909), section 3 and table 1.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, Unpack

from pydantic import Field
from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.stand_alone import AttentionStem, StandAloneOptions
from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import Stem
from vtbench.models.residual import StrideOptions, plug_in
from vtbench.variants import Setting, register_model

_DEPTHS = {26: (1, 2, 4, 1), 38: (2, 3, 5, 2), 50: (3, 4, 6, 3)}


class SASAResNetOptions(StandAloneOptions, StrideOptions):
    """Options of all depths."""

    stem: Literal["conv", "attention"] = Field(
        "conv", description='first layers: 7x7 convolution and max-pool, or attention on pixels (the paper\'s "full")'
    )


def make_attention_stem(num_heads: int) -> Stem:
    """Attention over 4x4 windows of pixels to 64 channels, then a 4x4 max-pool with stride 4."""
    pool = nn.MaxPool2d(4, stride=4, ceil_mode=True)
    return Stem(AttentionStem(3, 64, num_heads=num_heads), nn.BatchNorm2d(64), pool, out_channels=64, stride=4)


def build_sasa_resnet(depth: int, options: SASAResNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """The network of ``depth`` layers, all of whose 3x3 convolutions are stand-alone attention."""
    return ResNet(
        "bottleneck",
        _DEPTHS[depth],
        stem="imagenet" if options.stem == "conv" else make_attention_stem(options.num_heads),
        **setting,
        stride_in=options.stride_in,
        **plug_in(ATTENTION_BLOCKS["sasa"], options, dict.fromkeys((2, 3, 4, 5), (0,))),
    )


for _depth in _DEPTHS:
    register_model(
        f"sasa_resnet{_depth}",
        partial(build_sasa_resnet, _depth),
        SASAResNetOptions(),
        family="sasa_resnet",
        source="Ramachandran et al. 2019, arXiv 1906.05909, table 1",
        twin="resnet50" if _depth == 50 else None,
        look=ATTENTION_BLOCKS["sasa"].look,
    )
