"""ResNet-18/34/50/101 with CBAM in every block (Woo et al. 2018, arXiv 1807.06521, figure 3)."""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.cbam import CbamOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelOptions, ModelSpec


class BottleneckOptions(CbamOptions, StrideOptions):
    """Options of ResNet-50 and 101 with CBAM."""


def _register(depth: int) -> None:
    block, depths = DEPTHS[depth]

    def build(options: ModelOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        stride_in = options.stride_in if isinstance(options, StrideOptions) else "3x3"
        gate = plug_in(ATTENTION_BLOCKS["cbam"], options)
        return ResNet(block, depths, num_classes=num_classes, image_size=image_size, stride_in=stride_in, **gate)

    spec = ModelSpec(
        name=f"cbam_resnet{depth}",
        build=build,
        options=CbamOptions() if block == "basic" else BottleneckOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Woo et al. 2018, arXiv 1807.06521, figure 3 and section 4.2",
        family="cbam_resnet",
        twin=f"resnet{depth}",
    )
    MODELS.add(spec.name, spec)


for _depth in DEPTHS:
    _register(_depth)
