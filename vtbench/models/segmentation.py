"""A residual network with a neck and a head that names every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vtbench.backbones.residual_block import BlockKind, StrideIn
from vtbench.backbones.resnet import ResNet, StemKind
from vtbench.backbones.sites import NeckFactory
from vtbench.layers.semantic_head import SemanticHead


class SegmentationNetwork(ResNet):
    """Trunk, ``neck``, ``semantic_head``: images (B, 3, H, W) of any size -> scores (B, num_classes, H, W).

    The maps of all stages go through the neck; the head's scores are resized bilinearly to the image. Parameters of the
    trunk have the names that they have in a `ResNet`, so its state dicts load (``strict=False``), and the same weights
    are drawn for them. ``neck`` is told the ends of the stages and makes maps of ``pyramid_channels``.
    """

    def __init__(
        self,
        block: BlockKind,
        depths: Sequence[int],
        *,
        image_size: tuple[int, int],
        num_classes: int,
        neck: NeckFactory,
        pyramid_channels: int,
        head_channels: int,
        width: int,
        stem: StemKind,
        stride_in: StrideIn,
    ) -> None:
        super().__init__(block, depths, image_size=image_size, width=width, stem=stem, stride_in=stride_in)
        self.neck = neck(self.stage_ends)
        self.semantic_head = SemanticHead(pyramid_channels, head_channels, num_classes, num_levels=len(depths))
        self.stage_names |= {"neck": "neck", "semantic_head": "head"}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images to scores of their pixels."""
        scores = self.semantic_head(*self.neck(*self.forward_stages(images_BCHW)))
        return F.interpolate(scores, size=images_BCHW.shape[2:], mode="bilinear", align_corners=False)
