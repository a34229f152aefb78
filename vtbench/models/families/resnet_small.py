"""ResNet-20/32/56 for images of 32 pixels (He et al. 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vtbench.backbones.resnet import ResNet
from vtbench.variants import MODELS, ModelOptions, ModelSpec

BLOCKS_A_STAGE = {20: 3, 32: 5, 56: 9}
"""The paper's n: three stages of n basic blocks make 6n + 2 layers."""


class SmallResNetOptions(ModelOptions):
    """What a ResNet for small images lets one choose."""

    width: int = Field(16, ge=1, description="channels of the first of three stages; each later stage doubles them")
    shortcut: Literal["identity", "projection"] = Field(
        "identity",
        description="where the shape changes: zero-padded identity (the paper's option A) or 1x1 convolution",
    )


def _register(depth: int) -> None:
    def build(options: SmallResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        return ResNet(
            "basic",
            (BLOCKS_A_STAGE[depth],) * 3,
            stem="small",
            num_classes=num_classes,
            image_size=image_size,
            **options.model_dump(),
        )

    spec = ModelSpec(
        name=f"resnet{depth}",
        build=build,
        options=SmallResNetOptions(),
        image_size=(32, 32),
        num_classes=10,
        source="He et al. 2016, arXiv 1512.03385, section 4.2",
        family="resnet_small",
    )
    MODELS.add(spec.name, spec)


for _depth in BLOCKS_A_STAGE:
    _register(_depth)
