"""The values that attention pools: a 1x1 convolution of the map in groups, before the pooling or after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vtbench.layers.pointwise import Pointwise

# B images, C channels, H height, W width of a map; L tokens.

ValueForm = Literal["rectified", "linear", "folded", "none"]


@dataclass(frozen=True)
class ValueRule:
    """How values are made of a map: see `PooledValues`. ``groups``: of the convolution, where there is one."""

    form: ValueForm
    out_channels: int
    groups: int = 1


class PooledValues(nn.Module):
    """T = A^T V(X) of Wu et al. 2020, equation 1: map (B, C, H, W), attention (B, L, H, W) -> (B, L, C').

    W_V is a 1x1 convolution in groups. By ``form``, V(X) is

    - "rectified": relu(norm(X W_V)). Wu et al. leave open what follows the convolution. The normalisation is needed:
      the mean over a map of rectified features is nearly the same for all images, and without it tokens hardly differ
      at first. The rectifier keeps a constant part in the pooled value, so that the layer normalisation of the token
      MLP does not blow up the small differences, and with them the gradients that flow back into the convolutions.
    - "linear": X W_V.
    - "folded": X W_V, too, but pooled first: A^T (X W_V) = (A^T X) W_V. No map of C' channels is made.
    - "none": X.

    MACs: H W C C' / groups + H W L C'; folded, H W L C + L C C' / groups; without W_V, H W L C.
    """

    def __init__(self, in_channels: int, rule: ValueRule) -> None:
        super().__init__()
        self.form = rule.form
        self.conv: nn.Module = nn.Identity()
        if self.form != "none":
            self.conv = Pointwise(in_channels, rule.out_channels, groups=rule.groups)
        self.norm: nn.Module = nn.BatchNorm2d(rule.out_channels) if self.form == "rectified" else nn.Identity()

    def forward(self, map_BCHW: Tensor, attention_BLHW: Tensor) -> Tensor:
        """Map and attention to pooled values."""
        if self.form == "folded":
            pooled_BCL1 = _pool(attention_BLHW, map_BCHW).transpose(1, 2).unsqueeze(3)
            return self.conv(pooled_BCL1).squeeze(3).transpose(1, 2)  # type: ignore[no-any-return]
        values_BCHW = self.norm(self.conv(map_BCHW))
        return _pool(attention_BLHW, values_BCHW.relu() if self.form == "rectified" else values_BCHW)

    def expected_macs(self, map_shape: tuple[int, ...], attention_shape: tuple[int, ...]) -> int:
        """The convolution, of all cells or of the tokens, and the pooling."""
        batch, channels, height, width = map_shape
        num_tokens, cells = attention_shape[1], height * width
        if not isinstance(self.conv, Pointwise):
            return batch * cells * num_tokens * channels
        a_vector = channels * self.conv.out_channels // self.conv.groups
        if self.form == "folded":
            return batch * num_tokens * (cells * channels + a_vector)
        return batch * cells * (a_vector + num_tokens * self.conv.out_channels)


def _pool(attention_BLHW: Tensor, values_BCHW: Tensor) -> Tensor:
    return attention_BLHW.flatten(2) @ values_BCHW.flatten(2).transpose(1, 2)
