"""ResNet-18/34/50/101 (He et al. 2016, arXiv 1512.03385, table 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vtbench.backbones.residual_block import BlockKind, StrideIn
from vtbench.backbones.resnet import ResNet
from vtbench.variants import MODELS, ModelOptions, ModelSpec

DEPTHS: dict[int, tuple[BlockKind, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Kind of block and number of blocks of each stage."""


class ResNetOptions(ModelOptions):
    """What a ResNet of basic blocks lets one choose."""

    stem: Literal["imagenet", "small"] = Field(
        "imagenet", description="first layers: 7x7 stride 2 and max-pool, or one 3x3 for images of about 32 px"
    )
    width: int = Field(64, ge=1, description="channels of the first stage; each later stage doubles them")


class StrideOptions(ModelOptions):
    """What every ResNet of bottlenecks lets its user choose."""

    stride_in: StrideIn = Field(
        "3x3", description="convolution that has the stride: 3x3 is version 1.5 (torchvision), 1x1 the paper's"
    )


class BottleneckResNetOptions(StrideOptions, ResNetOptions):
    """A ResNet of bottlenecks can also choose where their stride is."""


def build_resnet(depth: int, options: ResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
    """The ResNet of ``depth`` layers with ``options``; its settings are `DEPTHS` and the options, nothing else."""
    block, depths = DEPTHS[depth]
    return ResNet(block, depths, num_classes=num_classes, image_size=image_size, **options.model_dump())


def _register(depth: int) -> None:
    def build(options: ResNetOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        return build_resnet(depth, options, num_classes=num_classes, image_size=image_size)

    spec = ModelSpec(
        name=f"resnet{depth}",
        build=build,
        options=ResNetOptions() if DEPTHS[depth][0] == "basic" else BottleneckResNetOptions(),
        image_size=(224, 224),
        num_classes=1000,
        source="He et al. 2016, arXiv 1512.03385, table 1",
        family="resnet",
    )
    MODELS.add(spec.name, spec)


for _depth in DEPTHS:
    _register(_depth)
