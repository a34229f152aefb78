"""BoTNet-S1-59: the last stage of a ResNet attends over its whole map (Srinivas et al. 2021, arXiv 2101.11605).

Six attention blocks in c5, whose stride is 1; squeeze-and-excitation in every block, SiLU for ReLU.
"""

from __future__ import annotations

from typing import Unpack

from pydantic import Field
from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.bottleneck_attention import BottleneckAttentionOptions
from vtbench.attention.squeeze_excitation import SqueezeExcitation
from vtbench.backbones.resnet import ResNet
from vtbench.models.residual import StrideOptions, plug_in
from vtbench.variants import Setting, register_model


class BoTNetOptions(BottleneckAttentionOptions, StrideOptions):
    """Options of BoTNet-S1-59."""

    reduction: int = Field(16, ge=1, description="channels over hidden channels of squeeze-and-excitation")


def build_botnet_s1_59(options: BoTNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """Bottlenecks [3, 4, 6, 6] make 3 * 19 + 2 = 59 layers. Fixed to one ``image_size`` by its relative positions."""
    return ResNet(
        "bottleneck",
        (3, 4, 6, 6),
        strides=(1, 2, 2, 1),
        activation=nn.SiLU,
        gate=lambda channels: SqueezeExcitation(channels, options.reduction),
        **setting,
        stride_in=options.stride_in,
        **plug_in(ATTENTION_BLOCKS["botnet"], options, {5: (0,)}),
    )


register_model(
    "botnet_s1_59",
    build_botnet_s1_59,
    BoTNetOptions(),
    family="botnet_resnet",
    source="Srinivas et al. 2021, arXiv 2101.11605, section 4.8",
    twin="resnet50",
    look=ATTENTION_BLOCKS["botnet"].look,
)
