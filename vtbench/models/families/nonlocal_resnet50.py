"""ResNet-50 with five non-local blocks (Wang et al. 2018, arXiv 1711.07971, section 5)."""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.non_local import NonLocalOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelSpec

_WHERE = {3: (1, 3), 4: (1, 3, 5)}
"""Stage (res3 is 3) -> blocks that are followed: two in res3 and three in res4, as in the authors' code."""


class NonLocalResNetOptions(NonLocalOptions, StrideOptions):
    """Options of NL-ResNet-50."""


def build_nonlocal_resnet50(options: NonLocalResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """ResNet-50 with the units at `_WHERE`."""
    block, depths = DEPTHS[50]
    units = plug_in(ATTENTION_BLOCKS["nonlocal"], options, _WHERE)
    return ResNet(block, depths, num_classes=num_classes, image_size=image_size, stride_in=options.stride_in, **units)


MODELS.add(
    "nonlocal_resnet50",
    ModelSpec(
        name="nonlocal_resnet50",
        build=build_nonlocal_resnet50,
        options=NonLocalResNetOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Wang et al. 2018, arXiv 1711.07971, section 5",
        family="nonlocal_resnet",
        twin="resnet50",
    ),
)
