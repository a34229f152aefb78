"""Squeeze-and-excitation: channels are weighted by what the whole map holds."""

from __future__ import annotations

from collections import OrderedDict

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.catalog import Look
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map.


class SqueezeExcitationOptions(ModelOptions):
    """What a user may change about the gate."""

    reduction: int = Field(16, ge=1, description="channels over hidden channels of the gate")


@register_attention(
    "se",
    place="gate",
    options=SqueezeExcitationOptions(reduction=4),
    source="Hu et al. 2018, Squeeze-and-Excitation Networks, section 3",
    look=Look("SE", "#0072b2", "^"),
)
class SqueezeExcitation(nn.Module):
    """``sigmoid(W_2 relu(W_1 mean(x))) * x``: (B, C, H, W) -> (B, C, H, W).

    Hu et al. 2018 (arXiv 1709.01507), section 3, equations 2 to 4. ``W_1``: C -> C / reduction and ``W_2`` back, both
    with bias. Names of parameters are torchvision's. In a residual network it stands after the last normalisation of
    the branch, before the addition (figure 3).

    Cost per image: 2 C C' MACs and 2 C C' + C + C' parameters with C' = C / reduction. Means and products that are not
    summed count nothing.
    """

    role = "channel attention"

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.num_hidden = max(1, channels // reduction)
        self.gate = nn.Sequential(
            OrderedDict(
                avgpool=nn.AdaptiveAvgPool2d(1),
                fc1=nn.Conv2d(channels, self.num_hidden, 1),
                activation=nn.ReLU(),
                fc2=nn.Conv2d(self.num_hidden, channels, 1),
                scale_activation=nn.Sigmoid(),
            )
        )

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Scale every channel of every image."""
        return self.gate(map_BCHW) * map_BCHW  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels = map_shape[:2]
        return 2 * batch * channels * self.num_hidden
