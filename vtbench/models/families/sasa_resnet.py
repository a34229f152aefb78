"""Fully attentional ResNet-26/38/50: stand-alone attention for every 3x3 convolution, and for the stem if wanted.

Ramachandran et al. 2019, Stand-Alone Self-Attention in Vision Models (arXiv 1906.05909), section 3 and table 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.stand_alone import AttentionStem, StandAloneOptions
from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import Stem
from vtbench.models.families.resnet import StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelSpec

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


def _register(depth: int) -> None:
    def build(options: SASAResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        return ResNet(
            "bottleneck",
            _DEPTHS[depth],
            stem="imagenet" if options.stem == "conv" else make_attention_stem(options.num_heads),
            num_classes=num_classes,
            image_size=image_size,
            stride_in=options.stride_in,
            **plug_in(ATTENTION_BLOCKS["sasa"], options, dict.fromkeys((2, 3, 4, 5), (0,))),
        )

    spec = ModelSpec(
        name=f"sasa_resnet{depth}",
        build=build,
        options=SASAResNetOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Ramachandran et al. 2019, arXiv 1906.05909, table 1",
        family="sasa_resnet",
        twin="resnet50" if depth == 50 else None,
    )
    MODELS.add(spec.name, spec)


for _depth in _DEPTHS:
    _register(_depth)
