"""What a tokenizer is to the rest of the house, and where it is put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from vtbench.registry import Registry
from vtbench.tokenizers.value import ValueRule

# B images, C channels, H height, W width of a map; L tokens; D dimensions of a token.

FILTER_GAIN = 0.1
"""Starting gain of attention logits: maps start near uniform, so that training starts near average pooling."""


@dataclass(frozen=True)
class TokenizerSite:
    """The place of a tokenizer: the module of a visual transformer that it opens.

    ``group_width``: channels of a group where keys are made of the map. ``value``: what is pooled, where a tokenizer
    pools by attention. ``first``: no module comes before, so there are no earlier tokens. ``filter_gain``: starting
    gain of the logits that filters give. ``whole_filters``: see `RecurrentTokenizer`.
    """

    in_channels: int
    num_tokens: int
    token_dim: int
    group_width: int
    first: bool
    value: ValueRule
    filter_gain: float = FILTER_GAIN
    whole_filters: bool = False


class Tokenizer(nn.Module):
    """Base of all tokenizers. ``forward`` is what a subclass writes.

    ``out_channels`` is the width C' of the pooled values. ``name`` is what records call it. One that returns no
    attention says why in ``no_attention``.
    """

    role = "tokenizer"
    out_channels: int
    name: str
    no_attention = ""

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Pool the map to tokens.

        ``tokens_BLD`` are those of the module before, or None in the first. Returns pooled values (B, L, C') and the
        spatial attention (B, L, H, W), each map of which sums to 1; None if the tokenizer has no attention.
        """
        raise TypeError(f"{type(self).__name__} has no forward")


TokenizerFactory = Callable[[TokenizerSite], Tokenizer]

TOKENIZERS: Registry[TokenizerFactory] = Registry("tokenizer")
"""Which tokenizer opens each module of a visual transformer. Importing ``vtbench.tokenizers`` fills it."""


def softmax_over_map(logits_BLHW: Tensor) -> Tensor:
    """Each token's logits to weights that sum to 1 over the map."""
    return logits_BLHW.flatten(2).softmax(dim=2).view_as(logits_BLHW)
