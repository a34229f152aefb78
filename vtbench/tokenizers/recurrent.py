"""Recurrent tokenizer: the tokens of the module before say which pixels to look at next."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.pointwise import Pointwise, TokenLinear
from vtbench.tokenizers.filter import FilterTokenizer
from vtbench.tokenizers.tokenizer import TOKENIZERS, Tokenizer, TokenizerSite, softmax_over_map
from vtbench.tokenizers.value import PooledValues


class RecurrentTokenizer(Tokenizer):
    """W_R = norm(T_in - mean_L T_in) W_{T->R}; T = softmax_HW(K(X) W_R^T / sqrt(C))^T V(X).

    Wu et al. 2020, equation 2, where W_R = T_in W_{T->R}. W_{T->R}: D x C. K is a normalised grouped 1x1 convolution
    like V, as the paper's costs imply. L D C + H W C (g + L) MACs beside those of V, g the group width. The scale
    1 / sqrt(C) is ours: it keeps logits from growing with the width. W_{T->R} starts by default small for the reason
    given in `FilterTokenizer`.

    Filters are made of what sets a token apart from the other tokens, normalised without weights. Tokens of one image
    start nearly parallel; filters made of whole tokens stay so, and all of a module's maps become one. With
    ``whole_filters`` they are made so all the same, as the equation says.
    """

    name = "recurrent"

    def __init__(self, site: TokenizerSite) -> None:
        super().__init__()
        self.whole_filters = site.whole_filters
        self.value = PooledValues(site.in_channels, site.value)
        self.out_channels = site.value.out_channels
        self.key = Pointwise(site.in_channels, site.in_channels, groups=site.in_channels // site.group_width)
        self.key_norm = nn.BatchNorm2d(site.in_channels)
        self.to_filters = TokenLinear(site.token_dim, site.in_channels, gain=site.filter_gain)

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pooled values (B, L, C') and attention (B, L, H, W). Raises ``ValueError`` without earlier tokens."""
        if tokens_BLD is None:
            raise ValueError("a recurrent tokenizer needs the tokens of the module before it")
        if not self.whole_filters:
            tokens_BLD = F.layer_norm(tokens_BLD - tokens_BLD.mean(dim=1, keepdim=True), tokens_BLD.shape[2:])
        filters_BLC = self.to_filters(tokens_BLD) / math.sqrt(self.key.out_channels)
        keys_BCHW = self.key_norm(self.key(map_BCHW))
        logits_BNL = keys_BCHW.flatten(2).transpose(1, 2) @ filters_BLC.transpose(1, 2)
        attention = softmax_over_map(logits_BNL.transpose(1, 2).unflatten(2, map_BCHW.shape[2:]))
        return self.value(map_BCHW, attention), attention

    def expected_macs(self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...]) -> int:
        """Filters from the tokens, values, keys, logits and pooling."""
        batch, channels, height, width = map_shape
        num_tokens, token_dim = tokens_shape[1:]
        group_width = channels // self.key.groups
        logits = height * width * channels * (group_width + num_tokens)
        values = self.value.expected_macs(map_shape, (batch, num_tokens, height, width))
        return batch * (num_tokens * token_dim * channels + logits) + values


@TOKENIZERS.register("dynamic")
def make_dynamic(site: TokenizerSite) -> Tokenizer:
    """Static filters in the first module, which has no earlier tokens, and recurrent ones after it."""
    return FilterTokenizer(site) if site.first else RecurrentTokenizer(site)
