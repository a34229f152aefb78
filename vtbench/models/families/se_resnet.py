"""ResNet-18/34/50/101 with squeeze-and-excitation in every block (Hu et al. 2018, arXiv 1709.01507, figure 3)."""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.squeeze_excitation import SqueezeExcitationOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelOptions, ModelSpec


class BottleneckOptions(SqueezeExcitationOptions, StrideOptions):
    """Options of SE-ResNet-50 and 101."""


def _register(depth: int) -> None:
    block, depths = DEPTHS[depth]

    def build(options: ModelOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        stride_in = options.stride_in if isinstance(options, StrideOptions) else "3x3"
        gate = plug_in(ATTENTION_BLOCKS["se"], options)
        return ResNet(block, depths, num_classes=num_classes, image_size=image_size, stride_in=stride_in, **gate)

    spec = ModelSpec(
        name=f"se_resnet{depth}",
        build=build,
        options=SqueezeExcitationOptions() if block == "basic" else BottleneckOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Hu et al. 2018, arXiv 1709.01507, figure 3 and section 6.1",
        family="se_resnet",
        twin=f"resnet{depth}",
    )
    MODELS.add(spec.name, spec)


for _depth in DEPTHS:
    _register(_depth)
