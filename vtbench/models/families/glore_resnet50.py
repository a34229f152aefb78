"""ResNet-50 with three global reasoning units in its third stage (Chen et al. 2019, arXiv 1811.12814, section 4.1)."""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.glore import GlobalReasoningOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelSpec

_WHERE = {4: (0, 2, 4)}
"""Stage (res4 is 4) -> blocks that a unit follows: every second one, as in the authors' code."""


class GloReResNetOptions(GlobalReasoningOptions, StrideOptions):
    """Options of GloRe-ResNet-50."""


def build_glore_resnet50(options: GloReResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """ResNet-50 with the units at `_WHERE`."""
    block, depths = DEPTHS[50]
    units = plug_in(ATTENTION_BLOCKS["glore"], options, _WHERE)
    return ResNet(block, depths, num_classes=num_classes, image_size=image_size, stride_in=options.stride_in, **units)


MODELS.add(
    "glore_resnet50",
    ModelSpec(
        name="glore_resnet50",
        build=build_glore_resnet50,
        options=GloReResNetOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Chen et al. 2019, arXiv 1811.12814, section 4.1",
        family="glore_resnet",
        twin="resnet50",
    ),
)
