"""Attention-augmented ResNet-34/50/101 (Bello et al. 2019, arXiv 1904.09925, section 4.2).

One 3x3 convolution of every block in the last three stages is augmented, in a basic block the first. The ratios are
those that reproduce the paper's numbers of parameters: kappa 0.2 and upsilon 0.1 with bottlenecks, both 0.25 without.
"""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.augmented import AugmentedOptions
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet import DEPTHS, StrideOptions
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelOptions, ModelSpec


class BottleneckOptions(AugmentedOptions, StrideOptions):
    """Options of AA-ResNet-50 and 101."""


def _register(depth: int) -> None:
    block, depths = DEPTHS[depth]

    def build(options: ModelOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        return ResNet(
            block,
            depths,
            num_classes=num_classes,
            image_size=image_size,
            stride_in=options.stride_in if isinstance(options, StrideOptions) else "3x3",
            **plug_in(ATTENTION_BLOCKS["aa"], options, dict.fromkeys((3, 4, 5), (0,))),
        )

    spec = ModelSpec(
        name=f"aa_resnet{depth}",
        build=build,
        options=AugmentedOptions(kappa=0.25, upsilon=0.25) if block == "basic" else BottleneckOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="Bello et al. 2019, arXiv 1904.09925, section 4.2",
        family="aa_resnet",
        twin=f"resnet{depth}",
    )
    MODELS.add(spec.name, spec)


for _depth in (34, 50, 101):
    _register(_depth)
