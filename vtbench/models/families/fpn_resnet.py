"""Panoptic FPN's semantic branch on ResNet-18/34/50/101 (Kirillov et al. 2019, arXiv 1901.02446, section 3.1).

Laterals, top-down sum and 3x3 convolutions to 256 channels at four levels, then the head with 128 channels. Wu et al.
2020 compare with it on COCO-Stuff at 800x1216 pixels, in detectron2's labelling of 54 classes, and their costs are
those of bottlenecks with the stride in the first convolution. Narrower twins keep the proportions: the pyramid has 4
times, the head twice the width of the first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Unpack

from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from vtbench.backbones.sites import BlockSite, NeckFactory
from vtbench.catalog import Look
from vtbench.layers.feature_pyramid import FeaturePyramid
from vtbench.layers.pointwise import NUM_HEADS
from vtbench.layers.semantic_head import CHANNELS_A_GROUP
from vtbench.models.families.resnet import ResNetOptions
from vtbench.models.residual import DEPTHS, StrideOptions, find_stride
from vtbench.models.segmentation import SegmentationNetwork
from vtbench.variants import Setting, register_model

LOOK = Look("FPN", "#333333", "D")
COCO_STUFF = Setting(image_size=(800, 1216), num_classes=54)
"""The setting in which Wu et al. quote costs: classes of COCO-Stuff in detectron2, all things being one."""

_TIMES_WIDTH = {"pyramid_channels": 4, "head_channels": 2}
_MULTIPLES = {
    "pyramid_channels": (NUM_HEADS, "attention heads"),
    "head_channels": (CHANNELS_A_GROUP, "channels of a group that is normalised"),
}


class FpnOptions(ResNetOptions):
    """What a segmentation network on basic blocks lets one choose."""

    pyramid_channels: int = Field(0, ge=0, description="channels of the pyramid's maps; 0: 4 times the width")
    head_channels: int = Field(0, ge=0, description="channels inside the head; 0: twice the width")

    @field_validator("pyramid_channels", "head_channels")
    @classmethod
    def _check_and_spell_channels_in_one_way(cls, channels: int, info: ValidationInfo) -> int:
        """Return 0 for the width that 0 stands for, so that equal variants have equal spellings."""
        name = str(info.field_name)
        multiple, reason = _MULTIPLES[name]
        usual = _TIMES_WIDTH[name] * info.data.get("width", 0)
        if (channels or usual) % multiple:
            raise ValueError(
                f"option {name!r} comes to {channels or usual} channels; "
                f"they must be a multiple of {multiple}, the number of {reason}"
            )
        return 0 if channels == usual else channels

    @property
    def sizes(self) -> tuple[int, int]:
        """Channels of the pyramid and of the head, with what 0 stands for."""
        return self.pyramid_channels or 4 * self.width, self.head_channels or 2 * self.width


class BottleneckFpnOptions(StrideOptions, FpnOptions):
    """What a segmentation network on bottlenecks lets one choose."""


def build_segmentation(
    depth: int, options: FpnOptions, neck: NeckFactory, **setting: Unpack[Setting]
) -> SegmentationNetwork:
    """The network with a ResNet of ``depth`` layers as its trunk, and the neck that ``neck`` makes."""
    block, depths = DEPTHS[depth]
    pyramid_channels, head_channels = options.sizes
    return SegmentationNetwork(
        block,
        depths,
        neck=neck,
        pyramid_channels=pyramid_channels,
        head_channels=head_channels,
        width=options.width,
        stem=options.stem,
        stride_in=find_stride(options),
        **setting,
    )


def build_fpn(depth: int, options: FpnOptions, **setting: Unpack[Setting]) -> SegmentationNetwork:
    """Panoptic FPN on the ResNet of ``depth`` layers."""

    def make_neck(ends: Sequence[BlockSite]) -> nn.Module:
        return FeaturePyramid([end.channels for end in ends], options.sizes[0])

    return build_segmentation(depth, options, make_neck, **setting)


for _depth, (_kind, _) in DEPTHS.items():
    register_model(
        f"fpn_resnet{_depth}",
        partial(build_fpn, _depth),
        FpnOptions() if _kind == "basic" else BottleneckFpnOptions(stride_in="1x1"),
        family="fpn_resnet",
        source="Kirillov et al. 2019, arXiv 1901.02446, section 3.1",
        look=LOOK,
        setting=COCO_STUFF,
        task="segmentation",
    )
