"""ResNet-20/32/56 for images of 32 pixels (He et al. 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import Field

from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import LOOK
from vtbench.variants import SMALL_IMAGES, ModelOptions, register_model

BLOCKS_A_STAGE = {20: 3, 32: 5, 56: 9}
"""The paper's n: three stages of n basic blocks make 6n + 2 layers."""


class SmallResNetOptions(ModelOptions):
    """What a ResNet for small images lets one choose."""

    width: int = Field(16, ge=1, description="channels of the first of three stages; each later stage doubles them")
    shortcut: Literal["identity", "projection"] = Field(
        "identity",
        description="where the shape changes: zero-padded identity (the paper's option A) or 1x1 convolution",
    )


def build_small_resnet(depth: int, options: SmallResNetOptions, **settings: Any) -> ResNet:
    """The ResNet of ``depth`` layers with ``options``; ``settings``: sizes, and parts to plug in, of `ResNet`."""
    return ResNet(
        "basic", (BLOCKS_A_STAGE[depth],) * 3, stem="small", width=options.width, shortcut=options.shortcut, **settings
    )


for _depth in BLOCKS_A_STAGE:
    register_model(
        f"resnet{_depth}",
        partial(build_small_resnet, _depth),
        SmallResNetOptions(),
        family="resnet_small",
        source="He et al. 2016, arXiv 1512.03385, section 4.2",
        look=LOOK,
        setting=SMALL_IMAGES,
    )
