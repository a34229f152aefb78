"""SAN10/15/19: self-attention instead of all spatial convolutions (Zhao et al. 2020, arXiv 2004.13621, table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Unpack

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.san import PairwiseAttention, PatchwiseAttention
from vtbench.catalog import Look
from vtbench.errors import UserError
from vtbench.layers.pointwise import Classifier
from vtbench.layers.residual_branch import BranchBatchNorm, StochasticDepth
from vtbench.variants import SMALL_IMAGES, ModelOptions, Setting, register_model

# B images, C channels, H height, W width of a map.


class SANOptions(ModelOptions):
    """What every SAN lets its user choose."""

    attention: Literal["pairwise", "patchwise"] = Field(
        "patchwise", description="weights from the difference of two cells, or from the whole window at once"
    )


class SelfAttentionBlock(nn.Module):
    """``x + W relu(BN(attention(relu(BN(x)))))``: (B, C, H, W) -> (B, C, H, W).

    Zhao et al. 2020, section 3.3 and figure 2: the comparison has C / 16 channels, the values C / 4, 8 of which share
    their weights. ``W`` is a 1x1 convolution with bias. The second normalisation starts small, so that a block starts
    near the identity; the authors' starts at 1. Without softmax, the weights of patchwise attention are of any size at
    first, and learn more slowly from 1.
    """

    def __init__(self, channels: int, kernel_size: int, attention: Literal["pairwise", "patchwise"]) -> None:
        super().__init__()
        kind = PairwiseAttention if attention == "pairwise" else PatchwiseAttention
        self.bn1 = nn.BatchNorm2d(channels)
        self.attention = kind(channels, channels // 16, channels // 4, kernel_size)
        self.bn2 = BranchBatchNorm(channels // 4)
        self.conv = nn.Conv2d(channels // 4, channels, 1)
        self.relu = nn.ReLU()
        self.drop_branch = StochasticDepth()

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window, add."""
        attended = self.attention(self.relu(self.bn1(map_BCHW)))
        branch = self.conv(self.relu(self.bn2(attended)))
        return map_BCHW + self.drop_branch(branch)  # type: ignore[no-any-return]


class SelfAttentionNetwork(nn.Module):
    """1x1 stem at full resolution; stages of pool, 1x1 convolution, blocks; mean; classifier: (B, 3, H, W) -> scores.

    Zhao et al. 2020, section 3.4 and table 1. ``widths``, ``depths``, ``kernel_sizes``: channels, blocks and side of
    the window of each stage. ``pools``: whether a 2x2 max-pool precedes the stage. Padding by reflection needs maps
    larger than half a window: a ``UserError`` says so when the network is built for smaller images.
    """

    def __init__(
        self,
        attention: Literal["pairwise", "patchwise"],
        depths: Sequence[int],
        *,
        widths: Sequence[int],
        kernel_sizes: Sequence[int],
        pools: Sequence[bool],
        image_size: tuple[int, int],
        num_classes: int,
    ) -> None:
        super().__init__()
        channels, side = widths[0], min(image_size)
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.num_stages = len(depths)
        for index in range(self.num_stages):
            side = side // 2 if pools[index] else side
            if side <= kernel_sizes[index] // 2:
                raise UserError(
                    f"A self-attention network was to be built for images of {image_size[0]}x{image_size[1]} pixels, "
                    f"which leaves {side} cells a side to windows of {kernel_sizes[index]} cells in stage {index + 1}. "
                    "Give larger images, or take san_small for small ones."
                )
            blocks = [SelfAttentionBlock(widths[index], kernel_sizes[index], attention) for _ in range(depths[index])]
            stage = nn.Sequential(
                nn.MaxPool2d(2) if pools[index] else nn.Identity(),
                nn.Conv2d(channels, widths[index], 1, bias=False),
                *blocks,
                nn.BatchNorm2d(widths[index]),
                nn.ReLU(),
            )
            self.add_module(f"stage{index + 1}", stage)
            channels = widths[index]
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(0.0)
        self.fc = Classifier(channels, num_classes)
        self.stage_names = {
            "stem": "stem",
            **{f"stage{number}": f"stage{number}" for number in range(1, self.num_stages + 1)},
            **dict.fromkeys(("avgpool", "dropout", "fc"), "head"),
        }

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Images to class scores."""
        hidden = self.stem(images_BCHW)
        for number in range(1, self.num_stages + 1):
            hidden = self.get_submodule(f"stage{number}")(hidden)
        return self.fc(self.dropout(self.avgpool(hidden)))  # type: ignore[no-any-return]


_LOOK = Look("SAN", "#9c5fb5", "<")
_DEPTHS = {10: (2, 1, 2, 4, 1), 15: (3, 2, 3, 5, 2), 19: (3, 3, 4, 6, 3)}


def build_san(depth: int, options: SANOptions, **setting: Unpack[Setting]) -> SelfAttentionNetwork:
    """The network of table 1 that the paper calls SAN and ``depth``."""
    return SelfAttentionNetwork(
        options.attention,
        _DEPTHS[depth],
        widths=(64, 256, 512, 1024, 2048),
        kernel_sizes=(3, 7, 7, 7, 7),
        pools=(True,) * 5,
        **setting,
    )


def build_san_small(options: SANOptions, **setting: Unpack[Setting]) -> SelfAttentionNetwork:
    """Three stages of three blocks at full, half and quarter resolution, for images of about 32 pixels."""
    return SelfAttentionNetwork(
        options.attention,
        (3, 3, 3),
        widths=(64, 128, 256),
        kernel_sizes=(3, 7, 7),
        pools=(False, True, True),
        **setting,
    )


for _depth in _DEPTHS:
    register_model(
        f"san{_depth}",
        partial(build_san, _depth),
        SANOptions(),
        family="san",
        source="Zhao et al. 2020, arXiv 2004.13621, table 1",
        twin="resnet50" if _depth == 19 else None,
        look=_LOOK,
    )
register_model(
    "san_small",
    build_san_small,
    SANOptions(),
    family="san",
    source="Zhao et al. 2020, arXiv 2004.13621, section 3; laid out for small images",
    twin="resnet20",
    look=_LOOK,
    setting=SMALL_IMAGES,
)
