"""ResNet-50 with five double attention units (Chen et al. 2018, arXiv 1810.11579, section 4)."""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.double_attention import DoubleAttentionOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelSpec

_WHERE = {3: (0, 2), 4: (0, 2, 4)}
"""Stage (res3 is 3) -> blocks that a unit follows: two in res3 and three in res4, every second block."""


class A2ResNetOptions(DoubleAttentionOptions, StrideOptions):
    """Options of A2-ResNet-50."""


def build_a2_resnet50(options: A2ResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """ResNet-50 with the units at `_WHERE`."""
    block, depths = DEPTHS[50]
    units = plug_in(ATTENTION_BLOCKS["a2"], options, _WHERE)
    return ResNet(block, depths, num_classes=num_classes, image_size=image_size, stride_in=options.stride_in, **units)


MODELS.add(
    "a2_resnet50",
    ModelSpec(
        name="a2_resnet50",
        build=build_a2_resnet50,
        options=A2ResNetOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Chen et al. 2018, arXiv 1810.11579, section 4",
        family="a2_resnet",
        twin="resnet50",
    ),
)
