"""What a tokenizer is to the rest of the house, where it is put, and the values that its attention pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from vtbench.layers.pointwise import Pointwise
from vtbench.registry import Registry

# B images, C channels, H height, W width of a map; L tokens; D dimensions of a token.


@dataclass(frozen=True)
class TokenizerSite:
    """The place of a tokenizer: the module of a visual transformer that it opens.

    ``group_width``: channels of a group in grouped convolutions on the map. ``first``: no module comes before, so there
    are no earlier tokens.
    """

    in_channels: int
    num_tokens: int
    token_dim: int
    group_width: int
    first: bool


class Tokenizer(nn.Module):
    """Base of all tokenizers. ``forward`` is what a subclass writes.

    ``name`` is what records call it. One that returns no attention says why in ``no_attention``.
    """

    role = "tokenizer"
    name: str
    no_attention = ""

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Pool the map to tokens as wide as the map.

        ``tokens_BLD`` are those of the module before, or None in the first. Returns the pooled values (B, L, C) and the
        spatial attention (B, L, H, W), each map of which sums to 1; None if the tokenizer has no attention.
        """
        raise TypeError(f"{type(self).__name__} has no forward")


TokenizerFactory = Callable[[TokenizerSite], Tokenizer]

TOKENIZERS: Registry[TokenizerFactory] = Registry("tokenizer")
"""Which tokenizer opens each module of a visual transformer. Importing ``vtbench.tokenizers`` fills it."""


def pool_by_attention(attention_BLHW: Tensor, values_BCHW: Tensor) -> Tensor:
    """T = A^T V of Wu et al. 2020, equation 1: (B, L, H, W), (B, C, H, W) -> (B, L, C). L H W C MACs an image."""
    return attention_BLHW.flatten(2) @ values_BCHW.flatten(2).transpose(1, 2)


def softmax_over_map(logits_BLHW: Tensor) -> Tensor:
    """Each token's logits to weights that sum to 1 over the map."""
    return logits_BLHW.flatten(2).softmax(dim=2).view_as(logits_BLHW)


class ValueMap(nn.Module):
    """V(X) = relu(norm(X W_V)), W_V a 1x1 convolution in groups: (B, C, H, W) -> the same shape.

    C x ``group_width`` MACs a cell. Wu et al. leave open what follows the convolution. The normalisation is needed: the
    mean over a map of rectified features is nearly the same for all images, and without it tokens hardly differ at
    first. The rectifier keeps a constant part in the pooled value, so that the layer normalisation of the token MLP
    does not blow up the small differences, and with them the gradients that flow back into the convolutions.
    """

    def __init__(self, channels: int, group_width: int) -> None:
        super().__init__()
        self.conv = Pointwise(channels, channels, group_width=group_width)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map to values."""
        return self.norm(self.conv(map_BCHW)).relu()  # type: ignore[no-any-return]
